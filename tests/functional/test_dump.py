"""slowproxy dump: the stacks of a process, now."""
import json
import os
import pathlib
import pty
import subprocess
import threading

import pytest

from objects import APPS, BINARY, PYTHON, Client, Process, line_of, until


def dump(pid, *options):
    return subprocess.run([BINARY, "dump", "--pid", str(pid), *options], capture_output=True, text=True, timeout=20)


@pytest.mark.core
def test_dump_names_the_functions(demo_app):
    """While the app sleeps in call_legacy_service, dump shows that function, its file, and who called it."""
    asking = threading.Thread(target=lambda: demo_app_get(demo_app, "/blocking?seconds=2"))
    asking.start()

    def seen():
        run = dump(demo_app.pid)
        assert run.returncode == 0, run.stderr
        return "call_legacy_service" in run.stdout and run.stdout

    text = until(seen, "call_legacy_service in a dump")
    assert "load_prices" in text and "app.py" in text
    asking.join()


def demo_app_get(backend, path):
    return Client(backend.address).get(path)


def test_dump_as_json(demo_app):
    """--json prints one JSON document."""
    run = dump(demo_app.pid, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)


AWAITS = APPS / "awaits.py"


@pytest.fixture
def awaits(folder):
    process = Process("awaits", [PYTHON, AWAITS], folder)
    until(lambda: "ready" in process.output(), "the tasks to be suspended")
    return process


def test_who_awaits_whom(awaits):
    """Each task is there with its await chain, whom it awaits and who awaits it; in JSON tasks are told apart by their ids."""
    text = dump(awaits.pid).stdout
    blocks = {block.split('"')[1]: block for block in text.split("\n\n") if block.startswith("Task ")}
    assert blocks["first"].startswith('Task "first" (suspended), awaited by "parent"\n'), text
    assert set(blocks["parent"].splitlines()[0].removeprefix('Task "parent" (suspended), awaits ').split(", ")) >= {'"first"', '"second"'}
    chain = [line.split(" (")[0].strip() for line in blocks["first"].splitlines()[1:]]
    assert chain == ["sleep", "deep", "chain"]
    assert f"chain ({AWAITS}:{line_of(AWAITS, 'await deep()')})" in blocks["first"]
    document = json.loads(dump(awaits.pid, "-j").stdout)
    tasks = {task["name"]: task for task in document["tasks"]}
    assert tasks["first"]["awaited_by"] == tasks["second"]["awaited_by"] == tasks["parent"]["id"] != tasks["first"]["id"]
    assert tasks["lonely"]["awaited_by"] is None
    assert document["threads"][0]["state"] == "idle" and document["threads"][0]["runs_event_loop"]


def test_native_frames(folder):
    """-n shows the C functions between the Python ones, by library; a build without libdw says so."""
    process = Process("sleeper", [PYTHON, "-c", "import time\nprint('ready', flush=True)\ntime.sleep(60)"], folder)
    until(lambda: "ready" in process.output(), "it to sleep")
    run = dump(process.pid, "-n")
    if "this build reads no C functions" in run.stderr:
        assert run.returncode == 2
        pytest.skip("SKIPPED: this build has no libdw (-DSLOWPROXY_NATIVE=ON)")
    frames = [line.strip() for line in run.stdout.splitlines() if line.startswith("    ")]
    assert run.returncode == 0 and "nanosleep (libc.so.6)" in frames[0] and "<module> (<string>:3)" in frames, run.stdout + run.stderr
    assert not any("_PyEval" in frame for frame in frames)
    thread = json.loads(dump(process.pid, "-n", "-j").stdout)["threads"][0]
    assert thread["native_frames"][0]["library"] == "libc.so.6" and len(thread["frames"]) == 1
    run = subprocess.run([BINARY, "record", "-n", "-i", "-d", "0.3", "-f", "raw", "-o", "-", "-p", str(process.pid)], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0 and "<module> (<string>:3);" in run.stdout and "nanosleep (libc.so.6)" in run.stdout


def test_locals(folder):
    """-l shows each frame's variables, values where they are simple; without it there are none, whatever they hold."""
    script = pathlib.Path(folder) / "pay.py"
    script.write_text("import time\ndef pay(card, count):\n    order = {'a': 1}\n    print('ready', flush=True)\n    time.sleep(60)\npay('4711\\x1b[2J', 3)\n")
    process = Process("pay", [PYTHON, script], folder)
    until(lambda: "ready" in process.output(), "it to sleep")
    shown = dump(process.pid, "-l").stdout
    assert f"    pay ({script}:5)\n        card = '4711\\x1b[2J'\n        count = 3\n        order = <dict of 1>\n" in shown, shown
    frame = json.loads(dump(process.pid, "--locals", "-j").stdout)["threads"][0]["frames"][0]
    assert frame["locals"] == [{"name": "card", "repr": "'4711\\x1b[2J'"}, {"name": "count", "repr": "3"}, {"name": "order", "repr": "<dict of 1>"}]
    for options in ((), ("-j",)):
        run = dump(process.pid, *options)
        assert run.returncode == 0 and "pay" in run.stdout and "order" not in run.stdout and "4711\\x1b" not in run.stdout


def test_subprocesses(folder):
    """-s shows the Pythons below a process, too, which may be no Python itself; without it such a process is refused."""
    child = pathlib.Path(folder) / "child.py"
    child.write_text("import subprocess, sys, time\nif sys.argv[1] != '0':\n    subprocess.Popen([sys.executable, __file__, '0'])\n"
                     "print('ready', flush=True)\ntime.sleep(60)\n")
    shell = Process("shell", ["/bin/sh", "-c", f"{PYTHON} {child} 1; true"], folder)
    until(lambda: shell.output().count("ready") == 2, "both to sleep")
    processes = json.loads(dump(shell.pid, "-s", "-j").stdout)
    assert sorted(p["command_line"].split()[-1] for p in processes) == ["0", "1"]
    assert all(p["threads"][0]["frames"][0]["filename"] == str(child) for p in processes)
    text = dump(shell.pid, "-s").stdout
    assert all(f"Process {p['pid']}: Python {p['python_version']}\n{p['command_line']}\n" in text for p in processes), text
    assert dump(shell.pid).returncode == 1


def test_colours_are_for_terminals(awaits):
    """On a terminal there are colours, unless NO_COLOR is set; a pipe gets none."""
    def on_a_terminal(**environment):
        ours, theirs = pty.openpty()
        run = subprocess.Popen([BINARY, "dump", "-p", str(awaits.pid)], stdout=theirs, env={**os.environ, "TERM": "xterm", **environment})
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 65536):
                text += part
        except OSError:  # EIO: the other side is closed
            pass
        os.close(ours)
        assert run.wait(20) == 0
        return text.decode()

    assert "\033[" in on_a_terminal(NO_COLOR="") and "\033[" not in on_a_terminal(NO_COLOR="1")
    assert "\033[" not in dump(awaits.pid).stdout


def test_names_do_not_steer_the_terminal(folder):
    """A thread or task whose name holds control characters is shown with these escaped."""
    process = Process("hostile", [PYTHON, "-c", "import threading, time\nthreading.current_thread().name = 'a\\x1b]0;b\\x07'\nprint('ready', flush=True)\ntime.sleep(60)"], folder)
    until(lambda: "ready" in process.output(), "the thread to have its name")
    assert '"a\\x1b]0;b\\x07"' in dump(process.pid).stdout


def test_dump_of_what_is_not_there():
    """A pid that is not there, or not Python: status not 0 and a sentence."""
    for pid in (2 ** 22 - 1, 1):
        run = dump(pid)
        if run.returncode == 0:  # pid 1 may be a Python in a container
            continue
        assert len(run.stderr.split()) >= 3, run.stderr
