#!/bin/sh
# Everything that can be checked, in stages, with one table at the end.
#
#   tests/run.sh                 all stages (about half an hour on two cores)
#   tests/run.sh --quick         lints, release build, unit and functional tests, quickstart
#   tests/run.sh STAGE...        only these, with what they need built first;  tests/run.sh --list names them
#
# The last line is "N passed, N failed, N skipped", counting stages; the exit status is 0 when none failed.
# The whole output of each stage lies in build/test-logs/STAGE.log.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$top" || exit 1
logs=$top/build/test-logs
python=/usr/bin/python3
jobs=$(nproc 2>/dev/null || echo 2)
fuzz_inputs=${FUZZ_INPUTS:-200000} # for each fuzzer
export CLICOLOR=0 PYTHONDONTWRITEBYTECODE=1

packages="gcc libc6-dev cmake ninja-build pkg-config git libevent-dev libyaml-dev libjansson-dev libdw-dev libcurl4-openssl-dev zlib1g-dev openssl mount e2fsprogs prometheus libcmocka-dev libncurses-dev clang-14 clang-format-14 clang-tidy-14
libclang-rt-14-dev llvm-14 valgrind curl wrk nginx haproxy util-linux libcap2-bin runc debootstrap dpkg-dev lintian mandoc man-db diffutils findutils python3 python3-pytest python3-httpx python3-yaml
python3-fastapi python3-uvicorn python3-gunicorn gunicorn python3-hypercorn python3-daphne python3-waitress python3-werkzeug python3-httptools python3-h11 python3-uvloop
python3-gevent python3-django uwsgi-core uwsgi-plugin-python3 python3-jsonschema python3-pyte python3-selenium chromium chromium-driver"

#      stage             in --quick  what it proves
stages="
packages         yes  the Debian packages all else needs are installed
lint             yes  includes point down, no version number in the walker, a tidy top level
format           yes  clang-format-14 would change nothing
release          yes  the release build compiles without a warning
unit             yes  the unit tests pass
generated        yes  the generated files in config/ are what the binary writes
logql            yes  each LogQL query is understood by Grafana's own grammar, and keeps lines of ours
functional       yes  real servers, real clients, real kills
quickstart       yes  the README's first command explains each slow request rightly
asan             no   the unit tests pass under AddressSanitizer and UBSan
functional-asan  no   the core of the functional tests passes under AddressSanitizer and UBSan
soak             no   a minute of every kind of client at once, under reloads, upgrades and kills, in the AddressSanitizer build
tsan             no   the unit tests pass under ThreadSanitizer
pystack          no   stacks of real interpreters are read rightly
native           no   C functions stand rightly between the Python ones, in a build with libdw
fuzz             no   fuzzers find nothing in a fixed number of inputs
valgrind         no   nothing is lost when clients leave at each byte (a few thousand of them here)
tidy             no   clang-tidy-14 has nothing to say
containers       no   beside an app in containers (runc), slow lines and doctor say the same, and it is true
package          no   the Debian package and its manuals: no complaints, installs, runs behind its unit's fences and under systemd, goes
bench            no   the benchmark runs (its figures are not judged here)
engine           -    only when named: the image, compose.yaml and one container in a real Docker engine (minutes)
"

list_stages() { echo "$stages" | sed '/^$/d'; }
# stage_names KIND: of the --quick run, of the whole one, or named: all that can be named
stage_names() {
	list_stages | while read -r name quick _; do
		case $1-$quick in quick-yes | all-yes | all-no | named-*) echo "$name" ;; esac
	done
}
skip() { echo "SKIPPED: $*"; exit 77; }

# --- stages: each a function run in a subshell; status 0 passed, 77 skipped (with a line SKIPPED: why), else failed -------

stage_packages() {
	. /etc/os-release 2>/dev/null || ID=unknown
	missing=
	for package in $packages $(llhttp_package); do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || { echo "all installed"; return 0; }
	if [ "$ID" != debian ]; then
		skip "this is ${PRETTY_NAME:-not Debian}, so nothing was installed; needed is what these Debian packages hold:$missing"
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "Only root can install the missing packages: apt-get install$missing"
		return 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	# nginx and haproxy must not start as services here: they are only peers in tests.
	[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && made=yes; }
	# shellcheck disable=SC2086
	apt-get install -y --no-install-recommends $missing || { apt-get update && apt-get install -y --no-install-recommends $missing; }
	status=$?
	[ "${made-}" = yes ] && rm -f /usr/sbin/policy-rc.d
	return $status
}

# Debian 12 has llhttp's sources (node-llhttp); from Debian 13 on it is a library.
llhttp_package() {
	if [ -n "$(apt-cache policy libllhttp-dev 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p')" ]; then
		echo libllhttp-dev
	else
		echo node-llhttp
	fi
}

stage_lint() {
	failed=0
	for lint in tests/lint/*.py; do
		"$python" "$lint" "$top" || failed=1
	done
	return $failed
}

our_c_files() { find src include tests/unit tests/fuzz tests/bench tests/pystack -name '*.[ch]' 2>/dev/null | sort; }

stage_format() {
	need clang-format-14
	our_c_files | xargs clang-format-14 --dry-run -Werror
}

# build_into FOLDER CMAKE-ARGUMENT...
build_into() {
	folder=$1
	shift
	cmake -S . -B "$folder" -G Ninja "$@" && cmake --build "$folder" -j "$jobs"
}

stage_release() {
	build_into build -DCMAKE_COMPILE_WARNING_AS_ERROR=ON
}

# unit_tests_in FOLDER [WRAPPER...]: like pytest_twice.
unit_tests_in() {
	tests=$1
	shift
	"$@" ctest --test-dir "$tests" --output-on-failure -j "$jobs" --no-tests=error && return 0
	failures=$(sed 's/^[0-9]*://' "$tests/Testing/Temporary/LastTestsFailed.log") || return 1
	echo "== once more, alone: what failed"
	"$@" ctest --test-dir "$tests" --output-on-failure --rerun-failed || return 1
	echo "FLAKY: $(echo "$failures" | tr '\n' ' ')"
}

stage_unit() {
	build_into build >/dev/null && unit_tests_in build
}

stage_asan() {
	build_into build-asan -DSLOWPROXY_SANITIZE=address,undefined && unit_tests_in build-asan
}

# TSan of this compiler cannot map its shadow where the kernel randomises addresses much; setarch -R turns that off.
stage_tsan() {
	build_into build-tsan -DSLOWPROXY_SANITIZE=thread && unit_tests_in build-tsan setarch -R
}

# Schema, example and reference come from the table of keys: they are committed, and must be what it says today.
stage_generated() {
	build_into build >/dev/null || return 1
	[ -x build/slowproxy ] || skip "there is no build/slowproxy yet"
	failed=0
	for pair in schema:proxy.schema.json example:proxy.example.yaml reference:REFERENCE.md; do
		build/slowproxy "${pair%%:*}" | diff -u "config/${pair#*:}" - || { echo "config/${pair#*:} is out of date: slowproxy ${pair%%:*}"; failed=1; }
	done
	return $failed
}

# pytest_twice NAME ARGUMENT...: what failed runs once more, alone, for a shared machine may stop us for a second anywhere.
# What passes only then is named as FLAKY in the table: a debt that is seen, but no failure.
pytest_twice() {
	cache=$logs/$1.pytest-cache
	shift
	rm -rf "$cache"
	set -- timeout -k 10 1500 "$python" -m pytest -o cache_dir="$cache" -q --durations=10 -rsxf "$@"
	"$@" && return 0
	failures=$(sed -n 's/^  "\(.*\)": true,*$/\1/p' "$cache/v/cache/lastfailed" 2>/dev/null)
	[ -n "$failures" ] || return 1
	echo "== once more, alone: what failed"
	"$@" --last-failed --last-failed-no-failures none || return 1
	echo "FLAKY: $(echo "$failures" | tr '\n' ' ')"
}

functional_with() {
	[ -x "$1" ] || skip "there is no $1 yet"
	binary=$1
	name=$2
	shift 2
	SLOWPROXY_BIN=$top/$binary pytest_twice "$name" "$@" tests/functional
}

stage_functional() {
	build_into build >/dev/null && functional_with build/slowproxy functional
}

stage_functional_asan() {
	build_into build-asan -DSLOWPROXY_SANITIZE=address,undefined >/dev/null && functional_with build-asan/slowproxy functional-asan -m core
}

stage_soak() {
	build_into build-asan -DSLOWPROXY_SANITIZE=address,undefined >/dev/null && SLOWPROXY_BIN=$top/build-asan/slowproxy "$python" tests/soak/run.py --minutes 1
}

stage_pystack() {
	set -- tests/pystack/test_*.py
	[ -e "$1" ] || skip "tests/pystack has no tests yet"
	build_into build >/dev/null && pytest_twice pystack tests/pystack
}

# C functions between the Python ones are an option of their own (libdw): only the reader is built with it.
stage_native() {
	cmake -S . -B build-native -G Ninja -DSLOWPROXY_NATIVE=ON && cmake --build build-native -j "$jobs" --target pystack_tool pystack_test &&
		build-native/pystack_test &&
		PYSTACK_TOOL=$top/build-native/tests/pystack/pystack_tool pytest_twice native tests/pystack/test_native.py
}

stage_fuzz() {
	need clang-14
	[ -e tests/fuzz/CMakeLists.txt ] || skip "tests/fuzz does not exist yet"
	cmake -S . -B build-fuzz -G Ninja -DSLOWPROXY_FUZZ=ON -DCMAKE_C_COMPILER=clang-14 &&
		cmake --build build-fuzz -j "$jobs" --target fuzzers || return 1
	find build-fuzz/tests/fuzz -maxdepth 1 -name '*_fuzz' -type f | sort >"$logs/fuzzers"
	[ -s "$logs/fuzzers" ] || skip "no fuzzer was built"
	xargs -n 1 -P "$jobs" sh tests/fuzz/run_one.sh "$fuzz_inputs" "$logs" <"$logs/fuzzers"
}

stage_tidy() {
	need clang-tidy-14
	cmake -S . -B build -G Ninja >/dev/null || return 1
	# shellcheck disable=SC2016
	our_c_files | grep '^src/.*\.c$' | xargs -n 1 -P "$jobs" sh -c '
		said=$(clang-tidy-14 --quiet -p build --extra-arg=-Wno-ignored-optimization-argument "$0" 2>/dev/null) && [ -z "$said" ] && exit 0
		printf "%s\n" "$0:" "$said"
		exit 1'
}

# Grafana's grammar comes from npm, into build/logql.
stage_logql() {
	need node
	need npm
	mkdir -p build/logql && cp tests/logql/* build/logql/ || return 1
	(cd build/logql && timeout 120 npm install --no-audit --no-fund --silent) || skip "npm cannot bring @grafana/lezer-logql here"
	functional_with build/slowproxy logql -k every_loki_panel
}

# The Debian 12 of the image is made by debootstrap the first time, and kept in build/containers.
stage_containers() {
	build_into build >/dev/null && SLOWPROXY_BUILD=$top/build pytest_twice containers tests/containers
}

stage_package() {
	build_into build -DCMAKE_INSTALL_PREFIX=/usr >/dev/null && SLOWPROXY_BUILD=$top/build pytest_twice package tests/package
}

stage_engine() {
	need dockerd
	"$python" -m pytest -q -rsxf tests/engine
}

stage_quickstart() {
	build_into build >/dev/null || return 1
	[ -x build/slowproxy ] || skip "there is no build/slowproxy yet"
	config/quickstart.sh --once
}

stage_valgrind() {
	need valgrind
	build_into build >/dev/null && "$python" tests/valgrind/aborts.py 2000
}
stage_bench() {
	build_into build >/dev/null || return 1
	[ -x build/slowproxy ] || skip "there is no build/slowproxy yet"
	"$python" tests/bench/run.py --smoke
}

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# --- running them -------------------------------------------------------------------------------------------------------

rows=
passed=0 failed=0 skipped=0
started=$(date +%s)

run_stage() {
	name=$1
	log=$logs/$name.log
	printf '%-16s ' "$name"
	began=$(date +%s)
	("stage_$(echo "$name" | tr - _)") >"$log" 2>&1 </dev/null
	status=$?
	took=$(($(date +%s) - began))
	note=
	case $status in
	0) result=passed passed=$((passed + 1)) ;;
	77) result=skipped skipped=$((skipped + 1)) note=$(sed -n 's/^SKIPPED: //p' "$log" | tail -n 1) ;;
	*) result=FAILED failed=$((failed + 1)) note="see $log" ;;
	esac
	# What pytest, ctest and the like said in sum is worth a place in the table.
	if [ -z "$note" ]; then
		note=$(grep -E '^(=+ )?[0-9]+ (passed|failed)|tests passed' "$log" | tail -n 1 | tr -d =)
	fi
	flaky=$(sed -n 's/^FLAKY: //p' "$log")
	[ -z "$flaky" ] || note="$note; FLAKY, passed when run again: $flaky"
	printf '%-8s %4d s\n' "$result" "$took"
	[ "$result" != FAILED ] || { echo "--- the last lines of $log"; tail -n 60 "$log"; echo "---"; }
	rows="$rows$(printf '%-16s %-8s %4d s  %s' "$name" "$result" "$took" "$note")
"
}

case "${1-}" in
--list) list_stages; exit 0 ;;
--quick) chosen=$(stage_names quick) ;;
-*) echo "usage: $0 [--quick | --list | STAGE...]" >&2; exit 2 ;;
'') chosen=$(stage_names all) ;;
*)
	chosen=$*
	for name in $chosen; do
		stage_names named | grep -qx -- "$name" || { echo "$0: there is no stage $name; --list names them" >&2; exit 2; }
	done
	;;
esac

. /etc/os-release 2>/dev/null
[ "${ID-} ${VERSION_ID-}" = "debian 12" ] ||
	echo "This is ${PRETTY_NAME:-unknown}, not Debian 12: packages may be named otherwise and figures may differ. Needed: $packages $(llhttp_package)"

mkdir -p "$logs"
trap 'echo; echo "interrupted"; exit 130' INT TERM
for name in $chosen; do
	run_stage "$name"
done

total=$(($(date +%s) - started))
printf '\n%-16s %-8s %6s  %s\n' stage result time note
printf '%s' "$rows"
printf 'all together: %d min %d s\n\n' $((total / 60)) $((total % 60))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
