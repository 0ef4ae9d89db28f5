#!/bin/sh
# Builds logqlcheck within Loki's own module, so that LogQL is judged by Loki's own grammar. By hand: it takes minutes.
#
#   tests/logql/build.sh build/logqlcheck        then tests/functional/test_grafana.py finds it there
set -eu
out=$(realpath -m -- "${1:-build/logqlcheck}")
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
loki=github.com/grafana/loki/v3@v3.7.8
command -v go >/dev/null || { echo "SKIPPED: go is not here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod download "$loki" || { echo "SKIPPED: Loki's module cannot be had here"; exit 77; }
cp -r "$(go env GOMODCACHE)/$loki" source
chmod -R u+w source
cd source
# Loki's module names a folder that is a module of its own, and so is not in it.
go mod edit -dropreplace=github.com/grafana/loki/pkg/push
sed -i '/grafana\/loki\/pkg\/push/d' go.sum
mkdir cmd/logqlcheck
cp "$here/main.go" cmd/logqlcheck/
go build -mod=mod -o "$out" ./cmd/logqlcheck
echo "$out"
