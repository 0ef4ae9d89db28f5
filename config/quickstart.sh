#!/bin/sh
# From a clean clone to a slow request that explains itself: installs what is missing, builds, starts the demo app behind
# slowproxy, makes slow requests, shows what slowproxy says about them.
#
#   config/quickstart.sh          stays up until Ctrl-C, to be played with
#   config/quickstart.sh --once   ends by itself; status 0 only if each slow request's line named the right function
#
# Every process it starts it also ends, by its pid. Nothing is written outside build/ and one folder in /tmp.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=/usr/bin/python3
binary=${SLOWPROXY_BIN:-$top/build/slowproxy}
needed="gcc libc6-dev cmake ninja-build pkg-config libevent-dev libyaml-dev libjansson-dev libcurl4-openssl-dev zlib1g-dev curl python3 python3-fastapi python3-uvicorn"
once=no
folder=
app_pid=
proxy_pid=
show_pid=

case "${1-}" in
'') ;;
--once) once=yes ;;
*) echo "usage: $0 [--once]" >&2; exit 2 ;;
esac

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# end_process PID: TERM, up to ten seconds of patience, then KILL.
end_process() {
	[ -n "$1" ] || return 0
	kill -TERM "$1" 2>/dev/null || return 0
	patience=100
	while kill -0 "$1" 2>/dev/null && [ "$patience" -gt 0 ]; do
		sleep 0.1
		patience=$((patience - 1))
	done
	kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

leave() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	end_process "$show_pid"
	end_process "$proxy_pid"
	end_process "$app_pid"
	if [ -n "$folder" ]; then
		if [ "$once" = yes ] && [ "$status" -eq 0 ]; then
			rm -rf "$folder"
		else
			printf '\nFlame graphs and logs stay in %s\n' "$folder"
		fi
	fi
	exit "$status"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; a sentence and status 1 when it does not.
wait_for() {
	tries=$(($1 * 20))
	what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "waited in vain for $what" >&2; return 1; }
		sleep 0.05
	done
}

# What the machine needs. Debian 12 has llhttp as sources (node-llhttp), later ones as a library (libllhttp-dev).
install_packages() {
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		have_everything && return 0
		die "this is not Debian. Needed are: a C compiler, cmake, ninja, pkg-config, curl, libevent 2.1, libyaml, jansson, llhttp (library or" \
			"sources with headers), and for $python the modules fastapi and uvicorn. With these in place this script goes on."
	fi
	llhttp=node-llhttp
	if [ -n "$(apt-cache policy libllhttp-dev 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p')" ]; then
		llhttp=libllhttp-dev
	fi
	missing=
	for package in $needed $llhttp; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" -eq 0 ] || die "these packages are missing and only root can install them: apt-get install$missing"
	say "Installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get install -y --no-install-recommends $missing >"$folder/apt.log" 2>&1 ||
		{ apt-get update && apt-get install -y --no-install-recommends $missing; } >"$folder/apt.log" 2>&1 ||
		{ tail -n 20 "$folder/apt.log" >&2; die "apt-get could not install$missing"; }
}

have_everything() {
	for tool in cc cmake ninja pkg-config curl "$python"; do
		command -v "$tool" >/dev/null || return 1
	done
	pkg-config --exists libevent_core yaml-0.1 jansson && "$python" -c 'import fastapi, uvicorn'
}

build() {
	[ -z "${SLOWPROXY_BIN-}" ] || return 0
	say "Building"
	{ cmake -S "$top" -B "$top/build" -G Ninja && cmake --build "$top/build" --target slowproxy; } >"$folder/build.log" 2>&1 ||
		{ tail -n 30 "$folder/build.log" >&2; die "the build failed; its whole log is $folder/build.log"; }
	echo "$binary"
}

# pick_port WISH: WISH when it is free (0: none in particular), else any free one.
pick_port() {
	"$python" - "$1" <<'PYTHON'
import socket, sys
for port in (int(sys.argv[1]), 0):
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        continue
    print(probe.getsockname()[1])
    break
PYTHON
}

start_app() {
	app_port=$(pick_port 0)
	"$python" -m uvicorn app:app --app-dir "$top/config/demo" --host 127.0.0.1 --port "$app_port" --log-level warning \
		>"$folder/app.log" 2>&1 &
	app_pid=$!
	wait_for 30 "the demo app" curl -sf "http://127.0.0.1:$app_port/" || { cat "$folder/app.log" >&2; exit 1; }
}

start_proxy() {
	port=$(pick_port 8080)
	cat >"$folder/proxy.yaml" <<YAML
listen: 127.0.0.1:$port
upstream: 127.0.0.1:$app_port
service: quickstart
slow:
  threshold: 500ms
routes:
  templates: [/cpu, /blocking, /await, /sync-sleep, /sync-cpu, "/items/{item_id}"]
capture:
  directory: $folder/profiles
logs:
  slow: stdout
admin:
  listen: "off"
YAML
	"$binary" -c "$folder/proxy.yaml" >"$folder/slow.log" 2>"$folder/proxy.log" &
	proxy_pid=$!
	wait_for 15 "slowproxy" curl -sf "http://127.0.0.1:$port/" || { cat "$folder/slow.log" "$folder/proxy.log" >&2; exit 1; }
}

# One slow request of each kind: its path, and the function that must be found. Fast ones in between, which must stay silent.
slow_requests="
/cpu          sum_of_squares_until
/blocking     call_legacy_service
/await        wait_for_partner_reply
/sync-sleep   wait_for_database
/sync-cpu     convolve_until
/items/7      wait_for_row_lock
"

get() {
	curl -s -o "$folder/body" -D "$folder/head" -w '%{http_code} %{time_total}\n' "http://127.0.0.1:$port$1" >"$folder/result" ||
		die "GET $1 got no answer"
	read -r code took <"$folder/result"
	time=$(tr -d '\r' <"$folder/head" | sed -n 's/^[Xx]-[Rr]esponse-[Tt]ime: //p')
	printf '  GET %-20s -> %s after %.3f s   X-Response-Time: %s\n' "$1" "$code" "$took" "${time:-(missing)}"
	[ "$code" = 200 ] && [ -n "$time" ] || die "GET $1: not the answer that was expected"
}

slow_line_for() { grep '"event":"slow_request"' "$folder/slow.log" | grep -F "\"url_path\":\"$1\""; }

make_requests() {
	say "Requests: fast ones, and one of each kind of slow"
	get /
	get /items/42
	echo "$slow_requests" | while read -r path _; do
		case $path in
		'') ;;
		/items/*) get "$path?seconds=0.8" ;;
		*) get "$path" ;;
		esac
	done
	get /
	echo "$slow_requests" | while read -r path _; do
		[ -z "$path" ] || wait_for 15 "the slow line of $path" slow_line_for "$path" || true
	done
}

trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

folder=$(mktemp -d /tmp/slowproxy-quickstart.XXXXXX)
chmod 755 "$folder" # slowproxy gives up root and must still reach its profiles

install_packages
build
start_app
start_proxy
make_requests
say "What slowproxy says about the slow ones (the JSON lines are in $folder/slow.log)"
if "$python" "$top/config/demo/show_slow_lines.py" --expect "$slow_requests" <"$folder/slow.log"; then good=yes; else good=no; fi

if [ "$once" = yes ]; then
	[ "$good" = yes ] || { tail -n 20 "$folder/proxy.log" >&2; die "not every slow request was explained rightly"; }
	say "Each slow request named the right function."
	exit 0
fi

say "It stays up. Ctrl-C ends it."
cat <<TEXT
  the app behind slowproxy   http://127.0.0.1:$port/   (try /cpu /blocking /await /sync-sleep /sync-cpu ?seconds=2)
  flame graphs               $folder/profiles/*.html   (open in any browser)
TEXT
"$python" "$top/config/demo/show_slow_lines.py" --follow "$folder/slow.log" &
show_pid=$!
wait "$proxy_pid" || true
