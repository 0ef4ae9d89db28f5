"""slowproxy top on a terminal: what is drawn, and what keys and sizes do to it. The terminal is pyte, on a pty."""
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from objects import APPS, BINARY, PYTHON, Process, until

pyte = pytest.importorskip("pyte", reason="SKIPPED: python3-pyte is not installed")


class Terminal:
    def __init__(self, *arguments, columns=110, rows=24, **environment):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.ours, theirs = pty.openpty()
        self._resize(columns, rows)
        self.process = subprocess.Popen([BINARY, "top", *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment})
        os.close(theirs)

    def _resize(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        self._resize(columns, rows)

    def lines(self):
        while select.select([self.ours], [], [], 0)[0]:
            try:
                part = os.read(self.ours, 65536)
            except OSError:  # EIO: the program has ended
                break
            if not part:
                break
            self.stream.feed(part)
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def type(self, keys):
        os.write(self.ours, keys.encode())

    def shows(self, pattern):
        return until(lambda: re.search(pattern, self.text(), re.S), f"{pattern!r} on the screen, which is\n{self.text()}")

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture
def target(folder):
    process = Process("target", [PYTHON, APPS / "record_target.py"], folder)
    until(lambda: "ready" in process.output(), "the target to work")
    return process


@pytest.fixture
def top(target):
    made = []

    def start(*arguments, **options):
        made.append(Terminal("-p", target.pid, "--delay", "0.3", *arguments, **options))
        return made[-1]

    yield start
    for terminal in made:
        terminal.end()


def rows(terminal):
    """[(own %, total %, own s, total s, name)] as drawn."""
    found = [re.match(r"\s*([\d.]+)% +([\d.]+)% +([\d.]+)s +([\d.]+)s +(\S.*)", line) for line in terminal.lines()]
    return [(*map(float, m.groups()[:4]), m.group(5)) for m in found if m]


@pytest.mark.core
def test_the_table(target, top):
    """The process, what it does with the GIL, and its functions: work stands for nearly all the time, compute and its inside for the own."""
    terminal = top()
    terminal.shows(rf"Process {target.pid}: Python 3\.\d+\.\d+\n.*record_target.py\nGIL: \d+\.\d\d%, Active: \d+\.\d\d%, Threads: 2, Rate: 100/s")
    until(lambda: any(name == "work (record_target.py)" and total >= 60 and seconds > 0.5 for _, total, _, seconds, name in rows(terminal)), "work in the table")
    assert float(re.search(r"GIL: ([\d.]+)%", terminal.text()).group(1)) >= 50
    assert all(row[3] < 0.2 for row in rows(terminal) if "doze" in row[4])
    own = [row[0] for row in rows(terminal)]
    assert own == sorted(own, reverse=True) and sum(own) <= 120


def test_keys(target, top):
    """l shows lines, 4 sorts by all time, p stops the numbers and goes on, r sets them to zero, ? helps, q ends with status 0."""
    terminal = top()
    terminal.shows(r"work \(record_target.py\)")
    terminal.type("l")
    terminal.shows(r"Line \(file:line\).*compute \(record_target.py:8\)")
    terminal.type("l4")
    terminal.shows(r"Function \(file\)")
    until(lambda: (times := [row[3] for row in rows(terminal)]) and times == sorted(times, reverse=True) and times[0] > 0.5, "rows by all their time")
    terminal.type("p")
    terminal.shows("PAUSED")
    before, end = rows(terminal), time.monotonic() + 0.8
    while time.monotonic() < end:
        assert rows(terminal) == before
    terminal.type("p")
    until(lambda: rows(terminal) != before, "the numbers to go on")
    terminal.type("r")
    until(lambda: max((row[3] for row in rows(terminal)), default=0) < before[0][3], "the times to be set to zero")
    terminal.type("?")
    terminal.shows("sort by %Own")
    terminal.type("?q")
    until(lambda: terminal.process.poll() is not None, "top to end")
    assert terminal.process.returncode == 0


def test_sizes(target, top):
    """A smaller terminal shows less and is not overrun, a larger one is filled again; one line is enough not to crash."""
    terminal = top()
    terminal.shows(r"work \(record_target.py\)")
    terminal.resize(40, 8)
    until(lambda: len(rows(terminal)) <= 3 and "Process" in terminal.lines()[0], "the small table")
    terminal.resize(9, 1)
    terminal.resize(140, 40)
    terminal.shows(r"OwnTime.*work \(record_target.py\)")
    assert terminal.process.poll() is None


def test_idle_threads(target, top):
    """-i shows the sleeping thread, too."""
    top("-i").shows(r"with idle threads.*doze \(record_target.py\)")


def test_a_process_that_ends(target, top):
    """The end of the process is told, and what was seen stays to be read; TERM then ends top and leaves the terminal as it was."""
    terminal = top()
    terminal.shows(r"work \(record_target.py\)")
    target.popen.kill()
    target.popen.wait()
    terminal.shows(r"The process has ended: q quits.*work \(record_target.py\)")
    terminal.process.send_signal(signal.SIGTERM)
    until(lambda: terminal.process.poll() is not None, "top to end")
    assert terminal.process.returncode == 0


def test_a_command(folder):
    """A command is started and shown; what it writes waits until the screen is given back; q ends both, with status 0."""
    words = pathlib.Path(folder) / "words.py"
    words.write_text("import os\nprint('written by', os.getpid(), flush=True)\nwhile True:\n    sum(range(1000))\n")
    terminal = Terminal("--delay", "0.3", "--", PYTHON, words)
    pid = int(terminal.shows(r"Process (\d+): Python.*<module> \(words.py\)").group(1))
    assert "written by" not in terminal.text()
    terminal.type("q")
    terminal.shows(f"written by {pid}")
    until(lambda: terminal.process.poll() is not None, "top to end")
    assert terminal.process.returncode == 0 and not os.path.exists(f"/proc/{pid}")
    terminal.end()


def test_terminals_that_are_none(target, top):
    """No terminal, or one nobody knows: a sentence and a status."""
    run = subprocess.run([BINARY, "top", "-p", str(target.pid)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert run.returncode == 1 and "it draws on a terminal, and this is none" in run.stderr
    terminal = top(TERM="no-such-terminal")
    terminal.shows("no-such-terminal is not known here")
    until(lambda: terminal.process.poll() is not None, "top to end")
    assert terminal.process.returncode == 1


@pytest.mark.parametrize("arguments, status, sentence", [
    ([], 2, "which process"),
    (["-p", "1x"], 2, "1x is not a process id"),
    (["-p", "1", "-r", "0"], 2, "0: is not a rate"),
    (["-p", "1", "--delay", "soon"], 2, "soon: is not a number of seconds"),
])
def test_what_cannot_be_shown(arguments, status, sentence):
    """Bad input is one sentence and a status."""
    run = subprocess.run([BINARY, "top", *arguments], capture_output=True, text=True, timeout=20)
    assert run.returncode == status and sentence in run.stderr
