"""dump and record of what cannot be read: one sentence that says why and what to do, a status, and nothing left behind."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from objects import APPS, BINARY, PYTHON, Process, alive, until

NOBODY = 65534


def look(command, pid, *options, **rest):
    flags = ["-d", "1", "-o", "-", "-f", "raw"] if command == "record" else []
    return subprocess.run([BINARY, command, "-p", str(pid), *flags, *options], capture_output=True, text=True, timeout=30, **rest)


@pytest.fixture
def target(folder):
    process = Process("target", [PYTHON, APPS / "record_target.py"], folder)
    until(lambda: "ready" in process.output(), "the target to work")
    return process


def one_sentence(run, *words):
    """The whole of what was said, on one line, and a failure."""
    assert run.returncode == 1 and run.stdout == "", (run.returncode, run.stdout)
    assert run.stderr.count("\n") == 1, run.stderr
    assert all(word in run.stderr for word in words), run.stderr


BOTH = pytest.mark.parametrize("command", ["dump", "record"])
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: only root can become somebody else")


@BOTH
def test_no_such_process(command):
    """No such pid; and one that ended, but whose parent has not asked yet."""
    one_sentence(look(command, 2 ** 22 - 1), "there is no process 4194303")
    ended = subprocess.Popen(["true"])
    until(lambda: not alive(ended.pid), "it to end")
    one_sentence(look(command, ended.pid), f"process {ended.pid}")
    ended.wait()


@BOTH
def test_no_python(command, folder):
    """Another program."""
    sleep = Process("sleep", ["sleep", "60"], folder)
    until(lambda: pathlib.Path(f"/proc/{sleep.pid}/comm").read_text() == "sleep\n", "its exec")
    one_sentence(look(command, sleep.pid), f"process {sleep.pid} is not Python")


@ROOT
@BOTH
def test_another_user(command, target):
    """We run as another user: both are named, and what gives the right."""
    one_sentence(look(command, target.pid, user=NOBODY), "belongs to user 0", f"we run as user {NOBODY}", "CAP_SYS_PTRACE")


@ROOT
def test_not_dumpable(folder):
    """A process of our user that gave up another one's rights is not dumpable."""
    text = f"import os, ctypes; os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); print('ready', flush=True); import time; time.sleep(60)"
    process = Process("dropped", [PYTHON, "-c", text], folder)
    until(lambda: "ready" in process.output(), "it to give up its rights")
    one_sentence(look("dump", process.pid, user=NOBODY), "not dumpable", "CAP_SYS_PTRACE")


@ROOT
def test_no_capability(target):
    """Root without CAP_SYS_PTRACE, and a process that has more capabilities."""
    if not shutil.which("setpriv"):
        pytest.skip("SKIPPED: setpriv is not installed")
    run = subprocess.run(["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", BINARY, "dump", "-p", str(target.pid)],
                         capture_output=True, text=True, timeout=30)
    one_sentence(run, "has capabilities that we do not have", "CAP_SYS_PTRACE")


def test_python_that_starts(folder):
    """A Python that has only just been started is read as soon as it can be."""
    process = Process("slow start", [PYTHON, "-X", "importtime", "-c", "import asyncio, http.server, time; time.sleep(60)"], folder)
    run = look("dump", process.pid)
    assert run.returncode == 0 and "MainThread" in run.stdout, run.stderr


@pytest.mark.core
def test_a_process_that_is_killed(folder, target):
    """The process is killed while it is recorded: what there is is written, no file beside it, and no child of ours."""
    file = pathlib.Path(folder) / "profile.html"
    recording = subprocess.Popen([BINARY, "record", "-p", str(target.pid), "-o", file, "--blocking"], stderr=subprocess.PIPE, text=True)
    status = pathlib.Path(f"/proc/{recording.pid}/status")
    until(lambda: recording.poll() is not None or int(status.read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0]) > 30, "some looks")
    target.popen.kill()
    target.popen.wait()
    _, errors = recording.communicate(timeout=30)
    assert recording.returncode == 0 and "The process ended before the recording did" in errors, errors
    assert sorted(p.name for p in pathlib.Path(folder).iterdir() if "profile" in p.name) == ["profile.html"]


def test_a_32_bit_program(folder):
    """A 32-bit program is told as such."""
    source = pathlib.Path(folder) / "small.s"
    source.write_text(".globl _start\n_start: mov $29, %eax\nint $0x80\njmp _start\n")
    built = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", source, "-o", source.with_suffix("")], capture_output=True)
    if built.returncode != 0:
        pytest.skip("SKIPPED: this gcc makes no 32-bit programs")
    small = Process("small", [source.with_suffix("")], folder)
    until(lambda: pathlib.Path(f"/proc/{small.pid}/comm").read_text() == "small\n", "its exec")
    one_sentence(look("dump", small.pid), "32-bit")


# As `py-spy COMMAND --help` of 0.4 lists them.
PY_SPY = {
    "dump": ["--full-filenames", "-l", "-ll", "--locals", "-j", "--json", "-s", "--subprocesses", "--nonblocking"],
    "record": ["--full-filenames", "-o /dev/null", "--output=/dev/null", "-f raw", "--format flamegraph", "--format speedscope", "--format chrometrace",
               "-d 1", "--duration unlimited", "-r 10", "--rate 10", "-s", "--subprocesses", "-F", "--function", "--nolineno", "-t", "--threads",
               "-g", "--gil", "-i", "--idle", "--nonblocking"],
    "top": ["-r 10", "--rate 10", "-s", "--subprocesses", "--full-filenames", "-g", "--gil", "-i", "--idle", "--delay 0.5", "--nonblocking"],
}


@pytest.mark.parametrize("command", PY_SPY)
def test_flags_of_py_spy(command, folder):
    """Whatever flag fingers and scripts know from py-spy is taken: it is the process that is not there (for top: the terminal)."""
    for flag in PY_SPY[command]:
        run = subprocess.run([BINARY, command, *flag.split(), "--pid", str(2 ** 22 - 1)], cwd=folder, capture_output=True, text=True, timeout=30)
        assert run.returncode == 1 and run.stderr.count("\n") == 1, (flag, run.stderr)
    assert look("dump", 0x3fffff, "-n").returncode in (1, 2)  # 2: a build without libdw, which says so
    if command == "dump":
        for flag in ("--core", "-c"):
            run = subprocess.run([BINARY, "dump", flag, "core.1"], capture_output=True, text=True, timeout=30)
            assert run.returncode == 2 and "reads living ones" in run.stderr
