"""What cannot be read is refused in one sentence that says why, and what to do."""
import os
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import GOOD, TOOL, dump, name_of, refusal, start, until, watch, FOUND


def test_other_versions_are_named(other_python, start):
    """A Python we have no row for is refused with its version, never guessed at."""
    app = start(other_python, "print('ready', flush=True); import time; time.sleep(3600)").ready()
    sentence = refusal(app.pid)
    version = ".".join(map(str, FOUND[other_python][:2]))
    if FOUND[other_python] >= (3, 7):
        assert f"Python {version}" in sentence and "3.11" in sentence
    assert str(app.pid) in sentence


def test_not_python():
    """/bin/sleep is not Python."""
    sleep = subprocess.Popen(["/bin/sleep", "3600"])
    try:
        until(lambda: os.readlink(f"/proc/{sleep.pid}/exe").endswith("sleep"), "exec")
        assert "is not Python" in refusal(sleep.pid)
    finally:
        sleep.kill()
        sleep.wait()


def test_no_such_process():
    """A pid nobody has, and one that just ended."""
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    assert "no process" in refusal(ended.pid)
    zombie = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert str(zombie.pid) in refusal(zombie.pid)
    zombie.wait()


def said(pid):
    """What a dump says, whether it is one or a refusal."""
    return subprocess.run([TOOL, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=30).stdout


def as_nobody(*arguments):
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *arguments]


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv to become another user")
def test_another_user_without_rights(python, start, tmp_path_factory):
    """As nobody: the sentence names both users and what gives the right."""
    app = start(python, "print('ready', flush=True); import time; time.sleep(3600)").ready()
    folder = tmp_path_factory.mktemp("reader")
    for path in (folder, *folder.parents[:3]):
        if path.owner() == "root" and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    tool = shutil.copy(TOOL, folder / "reader")
    run = subprocess.run(as_nobody(str(tool), "dump", "--pid", str(app.pid)), capture_output=True, text=True, timeout=20)
    assert run.returncode == 1, run.stderr
    assert "belongs to user 0 and we run as user 65534" in run.stderr and "CAP_SYS_PTRACE" in run.stderr


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv to become another user")
def test_same_user_without_rights(python, start, tmp_path_factory):
    """nobody reads nobody's process, as long as nothing else forbids it."""
    if os.path.exists("/proc/sys/kernel/yama/ptrace_scope") and open("/proc/sys/kernel/yama/ptrace_scope").read().strip() != "0":
        pytest.skip("Yama forbids it here")
    if not python.startswith("/usr/"):
        pytest.skip("nobody may not run this interpreter")
    folder = tmp_path_factory.mktemp("reader")
    for path in (folder, *folder.parents[:3]):
        if path.owner() == "root" and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    tool = shutil.copy(TOOL, folder / "reader")
    app = subprocess.Popen(as_nobody(python, "-c", "print('ready', flush=True); import time; time.sleep(3600)"), stdout=subprocess.PIPE)
    try:
        assert app.stdout.readline() == b"ready\n"
        run = subprocess.run(as_nobody(str(tool), "dump", "--pid", str(app.pid)), capture_output=True, text=True, timeout=20)
        assert run.returncode == 0 and "<module>" in run.stdout, run.stderr
    finally:
        app.kill()
        app.wait()


def watch_while(app, act):
    """Watches the process for 1.5 s, does something to it meanwhile; returns the watcher's output."""
    watcher = subprocess.Popen([TOOL, "watch", str(app.pid), "1.5"], stdout=subprocess.PIPE, text=True)
    until(lambda: len(os.listdir(f"/proc/{watcher.pid}/fd")) > 3, "the watcher's files")
    act()
    out, _ = watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    return out


def test_killed_in_mid_sample(python, start):
    """A process that is killed while it is read: reading ends with that sentence."""
    app = start(python, "print('ready', flush=True)\nwhile True: pass").ready()
    out = watch_while(app, lambda: (os.kill(app.pid, signal.SIGKILL), app.process.wait()))
    assert "no such process" in out.splitlines()[0], out


def test_exec_in_mid_sample(python, start):
    """After exec, even of the same program, it is another process, and nothing of the new one is shown as the old one's."""
    app = start(python, """
import os, signal, sys
def second_life(): signal.pause()
if len(sys.argv) > 1: second_life()
signal.signal(signal.SIGUSR1, lambda *_: os.execv(sys.executable, [sys.executable, "-c", "import time\\ndef second_life(): time.sleep(3600)\\nsecond_life()"]))
print("ready", flush=True)
while True: pass
""").ready()
    out = watch_while(app, lambda: os.kill(app.pid, signal.SIGUSR1))
    assert "no such process" in out.splitlines()[0], out
    assert "second_life" not in out
    until(lambda: "second_life" in said(app.pid), "the new program, attached to anew")


def test_still_starting(python):
    """Looked at from its first instruction on, a starting Python is either read or refused in a sentence; never a crash."""
    for _ in range(10):
        app = subprocess.Popen([python, "-c", "import time; time.sleep(3600)"])
        try:
            for _ in range(20):
                run = subprocess.run([TOOL, "dump", "--pid", str(app.pid)], capture_output=True, text=True, timeout=20)
                assert run.returncode in (0, 1), run
                assert run.returncode == 0 or len(run.stderr.split()) > 5
        finally:
            app.kill()
            app.wait()


def test_usage():
    """Wrong flags: status 2 and how to do it."""
    for arguments in ([], ["--pid", "abc"], ["--pid", "-5"], ["--frobnicate"]):
        run = subprocess.run([TOOL, "dump", *arguments], capture_output=True, text=True, timeout=20)
        assert run.returncode == 2 and "--pid" in run.stderr
