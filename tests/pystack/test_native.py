"""C functions between the Python ones, in a build that has libdw (tests/run.sh native; else skipped)."""
import json
import subprocess

import pytest

from conftest import DUMP, FOUND, WRAPPERS, until

APP = """
import functools, threading, time
def leaf(n):
    print("ready", flush=True) if threading.current_thread() is threading.main_thread() else None
    time.sleep(3600)
def key(n):
    leaf(n)
def generate():
    yield key(1)
def sort():
    sorted([2, 1], key=lambda n: list(generate()))
threading.Thread(target=sort, name="other", daemon=True).start()
functools.reduce(lambda a, b: sort(), [1, 2])
"""


def dump_native(pid):
    run = subprocess.run([DUMP, "dump", "--pid", str(pid), "--json", "--native"], capture_output=True, text=True, timeout=60)
    if "libdw" in run.stderr:
        pytest.skip("SKIPPED: this build has no libdw (-DSLOWPROXY_NATIVE=ON)")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def merged(thread):
    """Leaf first, Python and C: [(name, is C), ...]."""
    frames, natives = [f["name"].split(".")[-1] for f in thread["frames"]], list(thread.get("native_frames", []))
    out = []
    for i, name in enumerate([*frames, None]):
        while natives and natives[0]["depth"] <= i:
            out.append((natives.pop(0)["name"], True))
        out += [(name, False)] if name else []
    assert not natives
    return out


def test_c_and_python_in_the_order_of_their_calls(python, start):
    """C functions stand between the Python function that called them and the one they called, down to the program's first."""
    app = start(python, APP).ready()
    dump_native(app.pid)
    libc_sleeps = {"clock_nanosleep", "__clock_nanosleep", "select", "__select", "pselect", "clock_nanosleep@GLIBC_2.17"}

    def whole():
        threads = {t["thread_name"]: merged(t) for t in dump_native(app.pid)["threads"]}
        at = [name for name, is_c in threads.get("other", []) if not is_c]
        return at[:1] == ["leaf"] and threads

    threads = until(whole, "both threads asleep")
    for name in ("MainThread", "other"):
        stack = threads[name]
        if python.startswith(WRAPPERS.name):  # its libraries lie in another root, where libdw does not look: so nothing is claimed
            assert [n for n, is_c in stack if is_c] == ["<native>"]
            continue
        assert stack[0][1] and stack[0][0] in libc_sleeps, stack
        names = [n for n, _ in stack]
        between = {(a, b): [n for n, is_c in stack[names.index(a) + 1:names.index(b)] if is_c]
                   for a, b in (("leaf", "key"), ("generate", "<lambda>"), ("<lambda>", "sort"))}
        # From 3.11 on a Python function calls another one without any C between.
        assert FOUND[python] < (3, 11) or between["leaf", "key"] == []
        assert between["generate", "<lambda>"], stack  # list() runs the generator
        assert between["<lambda>", "sort"], stack
    main = threads["MainThread"]
    if python.startswith(WRAPPERS.name):
        return
    assert main[-1][1] and [n for n, c in main if not c][-1] == "<module>", main
    assert not any("_PyEval_EvalFrameDefault" in n for n, _ in main)
