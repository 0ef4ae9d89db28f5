#!/usr/bin/python3
"""What a look at a Python process costs the one who looks, beside py-spy, Austin and Python's own profiler, and what it costs the target.

    tests/bench/sampler.py rates [--python PYTHON]      samples per second of CPU, each tool on the same process in turn
    tests/bench/sampler.py cost [--pairs N]             throughput of a busy process with and without a sampler, in pairs

A tool that is not found is printed as skipped. CPU time is what counts: it says what a tool costs on one core, also on a busy machine.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("SLOWPROXY_BUILD", HERE.parent.parent / "build"))
OURS = BUILD / "tests/bench/sampler_bench"
SLOWPROXY = BUILD / "slowproxy"
DEEP = HERE / "deep.py"
# Counts what it gets done, and tells every 0.4 s.
BUSY = """
import json, time
text = json.dumps([{"name": str(i), "value": [i, i / 7]} for i in range(40)])
def work(): return len(json.dumps(json.loads(text), sort_keys=True))
while True:
    end, count = time.process_time() + 0.4, 0
    while time.process_time() < end: count += work() > 0
    print(count, flush=True)
"""
STUDENT_95 = 2.0  # of some 60 pairs; of 20 it is 2.09


def cpu_of(command, seconds):
    """Runs it; returns its output and the CPU seconds it used. None when it failed."""
    before = os.times()
    try:
        run = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds * 20 + 20)
    except subprocess.TimeoutExpired:
        return None
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return (run.stdout + run.stderr, used) if run.returncode == 0 else None


def peers(python, pid, seconds, folder):
    """{name: (command, where its output tells how many samples it took)}."""
    found = {}
    if shutil.which("py-spy"):
        found["py-spy, not stopping"] = (["py-spy", "record", "--nonblocking", "-i", "-r", 10000, "-d", seconds, "-f", "raw", "-o", folder / "p", "-p", pid],
                                         r"Samples: (\d+)")
        found["py-spy, stopping"] = (["py-spy", "record", "-i", "-r", 10000, "-d", seconds, "-f", "raw", "-o", folder / "p", "-p", pid], r"Samples: (\d+)")
    if shutil.which("austin"):
        found["Austin"] = (["austin", "-i", "1", "-x", seconds, "-o", folder / "a", "-p", pid], r"(\d+)(?: samples|/\d+)")
    if subprocess.run([python, "-c", "import profiling.sampling"], capture_output=True).returncode == 0:
        found["profiling.sampling"] = ([python, "-m", "profiling.sampling", "attach", "-r", 1000000, "-d", seconds, "--collapsed", "-o", folder / "t", pid],
                                       r"Captured ([\d,]+) samples")
    return found


def rates(options):
    print(f"| a stack of 30 frames in {options.python}, CPU time of the tool | samples per CPU second |\n|---|---:|")
    for kind in ("sleep", "spin"):
        target = subprocess.Popen([options.python, DEEP, kind], stdout=subprocess.PIPE, text=True)
        try:
            target.stdout.readline()
            looks = [json.loads(subprocess.check_output([OURS, str(target.pid), str(options.seconds)])) for _ in range(3)]
            print(f"| slowproxy, {kind} | {1e6 / min(look['cpu_us_per_look'] for look in looks):,.0f} |", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                found = peers(options.python, target.pid, options.seconds, pathlib.Path(folder))
                for name in ("py-spy, not stopping", "py-spy, stopping", "Austin", "profiling.sampling"):
                    got = cpu_of(found[name][0], options.seconds) if name in found else None
                    told = re.findall(found[name][1], got[0]) if got else None
                    figure = f"{int(told[-1].replace(',', '')) / got[1]:,.0f}" if told else "skipped: it failed" if name in found else "skipped: not found"
                    print(f"| {name}, {kind} | {figure} |", flush=True)
        finally:
            target.kill()


def cost(options):
    """Each pair: what is done in 0.4 s of the target's CPU time without, and with a sampler; which comes first changes by turns."""
    target = subprocess.Popen([options.python, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    print("| sampled at | change of throughput | 95 % sure between | pairs |\n|---|---:|---:|---:|")
    try:
        for rate in (100, 1000):
            changes = []
            for pair in range(options.pairs):
                done = {}
                for sampled in ((False, True) if pair % 2 else (True, False)):
                    command = [SLOWPROXY, "record", "-p", str(target.pid), "-r", str(rate), "-d", "60", "-f", "raw", "-o", "/dev/null"]
                    sampler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if sampled else None
                    if sampler:
                        time.sleep(0.1)  # it attaches meanwhile; what the target does in the turn under way is not counted
                    target.stdout.readline()
                    done[sampled] = int(target.stdout.readline())
                    if sampler:
                        sampler.terminate()
                        sampler.wait()
                changes.append(done[True] / done[False] - 1)
            mean, spread = statistics.fmean(changes), statistics.stdev(changes) / len(changes) ** 0.5 * STUDENT_95
            print(f"| {rate} Hz | {mean:+.2%} | {mean - spread:+.2%} and {mean + spread:+.2%} | {len(changes)} |", flush=True)
    finally:
        target.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rates", "cost"))
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    if not OURS.exists() or not SLOWPROXY.exists():
        sys.exit(f"SKIPPED: {OURS} or {SLOWPROXY} is not built (ninja sampler_bench slowproxy)")
    {"rates": rates, "cost": cost}[options.what](options)


if __name__ == "__main__":
    main()
