#!/bin/sh
# run_one.sh INPUTS FOLDER FUZZER: so many inputs for one fuzzer, from its seeds and with its room's dictionary; what it
# says comes in one piece, and what it finds is left in FOLDER.
set -u
inputs=$1 logs=$2 fuzzer=$3
name=$(basename "$fuzzer")
corpus=$(dirname "$fuzzer")/corpus/$name
here=$(dirname "$0")
mkdir -p "$corpus"
set -- "$corpus"
[ ! -d "$here/seeds/$name" ] || set -- "$@" "$here/seeds/$name"
[ ! -e "$here/${name%%_*}.dict" ] || set -- -dict="$here/${name%%_*}.dict" "$@"
said=$("$fuzzer" -runs="$inputs" -max_total_time=120 -max_len=4096 -timeout=10 -verbosity=0 -print_final_stats=1 -artifact_prefix="$logs/$name-" "$@" 2>&1)
status=$?
printf '== %s: %s inputs: status %s\n%s\n' "$name" "$inputs" "$status" "$said"
exit "$status"
