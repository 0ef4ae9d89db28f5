"""--blocking: the Python threads stand still while they are read, so what is read was so; and nobody stays stopped, whatever happens."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from conftest import TOOL, until, watch

CALLERS = {"inner_generator": {"outer_generator"}, "outer_generator": {"consume"}, "consume": {"storm"}, "recurse": {"recurse", "storm"},
           "make_and_free": {"storm"}, "dying": {"born"}, "alpha_0": {"storm", "quiet", "born"}, "beta_0": {"storm", "quiet", "dying"}}

SEEN = ("beta_5", "alpha_4", "generator", "recurse", "make_and_free", "quiet")


def is_possible(stack):
    """Whether the program can have been like this."""
    names = [re.sub(r" .*|:.*", "", frame).rpartition(".")[2] for frame in stack.split(";")]
    for caller, name in zip(names, names[1:]):
        if caller == "<unreadable>":
            continue
        tree, _, level = name.rpartition("_")
        if tree in ("alpha", "beta") and level != "0" and caller != f"{tree}_{int(level) - 1}":
            return False
        if tree == "leaf" and caller != f"fresh_{level}" or tree == "fresh" and caller not in ("make_and_free", "<module>"):
            return False
        if name in CALLERS and caller not in CALLERS[name]:
            return False
    return True


def test_nothing_impossible_is_seen(python, start):
    """Looks at a process that does all it can to be misread: not one stack is there that cannot have been."""
    app = start(python, "adversarial.py").ready()
    counts, stacks = watch(app.pid, float(os.environ.get("BLOCKING_SECONDS", 1)), "blocking")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not all(name in ";".join(stacks) for name in SEEN):  # it hardly runs on a busy machine
        more, others = watch(app.pid, 1, "blocking")
        counts = {key: counts[key] + more[key] for key in ("taken", "failed")}
        stacks = {stack: stacks.get(stack, 0) + others.get(stack, 0) for stack in {*stacks, *others}}
    impossible = {stack: count for stack, count in stacks.items() if not is_possible(stack)}
    degraded = sum(count for stack, count in stacks.items() if "<unreadable>" in stack)
    print(f"{counts['taken']} looks, {sum(stacks.values())} stacks, {len(stacks)} different, {counts['failed']} failed, {degraded} unreadable, impossible: {impossible}")
    assert not impossible and counts["failed"] == 0 and counts["taken"] >= 50 and degraded <= counts["taken"] / 50
    assert all(name in ";".join(stacks) for name in SEEN)


def states_of(pid):
    found = set()
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.add(re.search(r"State:\s+(\S)", text).group(1))
        found.update(["traced"] if re.search(r"TracerPid:\s+[1-9]", text) else [])
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV], ids=["KILL", "STOP", "SEGV"])
def test_nobody_stays_stopped(start, number):
    """Killed, stopped or crashed at any moment of its looks: within a second the process runs on, traced by nobody that sleeps."""
    app = start("/usr/bin/python3", "adversarial.py").ready()
    for _ in range(3):
        looking = subprocess.Popen([TOOL, "watch", str(app.pid), "60", "blocking"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: "traced" in states_of(app.pid), "a look that stops threads")
        looking.send_signal(number)
        until(lambda: not states_of(app.pid) & {"t", "T"} and runs(app.pid), "the process to run on", 5)
        looking.kill()
        looking.wait()
    until(lambda: "traced" not in states_of(app.pid), "the last tracer to be gone")
    assert runs(app.pid)


def ticks(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def runs(pid):
    """It has used a CPU meanwhile."""
    before = ticks(pid)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if ticks(pid) > before:
            return True
        time.sleep(0.005)
    return False


def test_signals_and_calls_survive(start):
    """A process that is stopped a thousand times gets each signal once, and its sleeps and waits last as long as they should."""
    app = start("/usr/bin/python3", """
import os, signal, sys, threading, time
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
signal.signal(signal.SIGRTMIN, lambda *_: None)
event = threading.Event()
waited = []
def wait():
    begin = time.monotonic()
    event.wait(1.0)
    waited.append(time.monotonic() - begin)
thread = threading.Thread(target=wait)
thread.start()
print("ready", flush=True)
begin = time.monotonic()
time.sleep(1.5)
slept = time.monotonic() - begin
thread.join()
while not sys.stdin.readline(): pass
print(len(os.read(read, 1000)), slept, waited[0], flush=True)
""").ready()
    looking = subprocess.Popen([TOOL, "watch", str(app.pid), "2.5", "blocking"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(30):
        os.kill(app.pid, signal.SIGRTMIN)
        time.sleep(0.03)
    out, errors = looking.communicate(timeout=30)
    assert looking.returncode == 0 and int(out.split()[1]) > 100, out
    app.process.stdin.write("go\n")
    app.process.stdin.flush()
    got, slept, waited = app.process.stdout.readline().split()
    assert int(got) == 30 and 1.5 <= float(slept) < 2.3 and 1.0 <= float(waited) < 1.8


def test_who_is_traced_already(start):
    """A process under a debugger cannot be stopped by us: that is told with the debugger's pid, and nothing is changed."""
    app = start("/usr/bin/python3", "adversarial.py").ready()
    tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(app.pid)], stderr=subprocess.DEVNULL) if os.path.exists("/usr/bin/strace") else None
    if tracer is None:
        pytest.skip("SKIPPED: strace is not installed")
    try:
        until(lambda: "traced" in states_of(app.pid), "strace to trace it")
        run = subprocess.run([TOOL, "dump", "--blocking", "-p", str(app.pid)], capture_output=True, text=True, timeout=20)
        assert run.returncode == 1 and f"process {tracer.pid} traces it already" in run.stderr, run.stderr
    finally:
        tracer.terminate()
        tracer.wait()
