"""Interpreters to read, and the reader under test."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOL = os.environ.get("PYSTACK_TOOL", str(ROOT / "build/tests/pystack/pystack_tool"))
DUMP = os.environ.get("SLOWPROXY_BIN", TOOL)
# A reader built with sanitizers is slower: more moves under its eyes, and bars on how much may be torn are wider.
PATIENCE = 5 if "san" in TOOL else 1
READABLE = {(3, minor) for minor in range(8, 16)}
# Newer Debians, unpacked with debootstrap into folders of this one and never installed into the system.
ROOTS = pathlib.Path(os.environ.get("SLOWPROXY_PYTHON_ROOTS", "/var/lib/slowproxy-pythons"))
PYENV = pathlib.Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")) / "versions"


# More of them, by their paths, divided by colons: builds that no package has.
MORE = os.environ.get("SLOWPROXY_PYTHONS", "")
FREE_THREADED = set()


def version_of(python):
    try:
        run = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:3], sys.abiflags)"],
                             capture_output=True, text=True, timeout=20)
        *version, flags = run.stdout.rstrip("\n").split(" ")
        if "t" in flags:
            FREE_THREADED.add(python)
        return tuple(map(int, version)) or None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def entered(root, program):
    """A script that runs a program of another root: to the tests it is an interpreter like any other."""
    script = pathlib.Path(WRAPPERS.name) / f"{root.name}-{program.name}"
    script.write_text(f'#!/bin/sh\nexec chroot {root} /usr/bin/{program.name} "$@"\n')
    script.chmod(0o755)
    return str(script)


def find_interpreters():
    """{path: version} of every CPython 3 at hand: the system's, pyenv's, and those in other roots."""
    candidates = ["/usr/bin/python3", *sorted(map(str, PYENV.glob("*/bin/python3"))), *filter(None, MORE.split(":"))]
    if os.getuid() == 0 and ROOTS.is_dir():
        candidates += [entered(root, program) for root in sorted(ROOTS.iterdir())
                       for program in sorted(root.glob("usr/bin/python3.*")) if re.fullmatch(r"python3\.\d+t?", program.name)]
    found = {}
    for python in candidates:
        version = version_of(python) if os.access(python, os.X_OK) else None
        if version and version[0] == 3:
            found[python] = version
    return found


def command(python, source, *args):
    """Runs one of apps/, or some text. Another root does not see our files: it gets their text."""
    path = HERE / "apps" / source if source.endswith(".py") else None
    if path and python.startswith(WRAPPERS.name):
        return [python, "-c", path.read_text(), *args]
    return [python, str(path), *args] if path else [python, "-c", source, *args]


WRAPPERS = tempfile.TemporaryDirectory(prefix="pystack-")
FOUND = find_interpreters()
GOOD = [p for p, v in FOUND.items() if v[:2] in READABLE]
OTHERS = [p for p, v in FOUND.items() if v[:2] not in READABLE]
MISSING = [f"{a}.{b}" for a, b in sorted(READABLE - {v[:2] for v in FOUND.values()})]
MISSING += [f"3.{minor}t" for minor in (13, 14, 15) if (3, minor) not in {FOUND[p][:2] for p in FREE_THREADED}]
TAPES = {path.name.rsplit(".", 1)[0] for path in (HERE / "tapes").glob("*.tape")}
UNTAPED = [m for m in MISSING if not any(re.fullmatch(re.escape(m.rstrip("t")) + r"\.\d+" + ("t" if m.endswith("t") else ""), t) for t in TAPES)]


def shown(python, name):
    """A qualified name as that version knows it."""
    return name if FOUND[python] >= (3, 11) else name.rsplit(".", 1)[-1]


def name_of(python):
    return ".".join(map(str, FOUND[python])) + ("t" if python in FREE_THREADED else "")


def interpreters():
    """What was found, and what was not."""
    return [f"interpreters read: {', '.join(f'{p} ({name_of(p)})' for p in GOOD) or 'NONE FOUND'}",
            f"interpreters that must be refused: {', '.join(map(name_of, OTHERS)) or 'none found, those cases are skipped'}",
            f"SKIPPED, no such interpreter here: {', '.join(MISSING) or 'none'}; looked for in {ROOTS}, too",
            f"of these the tapes are read all the same, but not of: {', '.join(UNTAPED) or 'none'}",
            f"reader: {TOOL}, dump: {DUMP}"]


def pytest_terminal_summary(terminalreporter):
    """At the end, since -q hides the head."""
    for line in interpreters():
        terminalreporter.write_line(line)


def pytest_generate_tests(metafunc):
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", GOOD, ids=name_of)
    if "other_python" in metafunc.fixturenames:
        metafunc.parametrize("other_python", OTHERS, ids=[name_of(each) for each in OTHERS])


def until(question, what, seconds=20):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Target:
    """A Python process that runs one of apps/, or some text."""

    def __init__(self, python, source, *args):
        self.process = subprocess.Popen(command(python, source, *args), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.path = HERE / "apps" / source

    def ready(self):
        """Waits for the line "ready"."""
        assert self.process.stdout.readline().strip() == "ready"
        return self

    def line(self, mark):
        """The number of the line marked `# at MARK`."""
        for number, text in enumerate(self.path.read_text().splitlines(), 1):
            if text.endswith(f"# {mark}"):
                return number
        raise KeyError(mark)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start():
    targets = []

    def start_one(python, source, *args):
        targets.append(Target(python, source, *args))
        return targets[-1]

    yield start_one
    for target in targets:
        target.end()


def dump(pid, **options):
    """The dump as JSON; asserts that it worked."""
    run = subprocess.run([DUMP, "dump", "--pid", str(pid), "--json"], capture_output=True, text=True, timeout=30, **options)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def refusal(pid, prefix=()):
    """The sentence with which a dump is refused."""
    run = subprocess.run([*prefix, DUMP, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=30)
    assert run.returncode != 0 and run.stdout == "", run.stdout
    assert run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def watch(pid, seconds, *options):
    """Samples flat out: (counts by name, {stack as "root;...;leaf": count})."""
    run = subprocess.run([TOOL, "watch", str(pid), str(seconds), *options], capture_output=True, text=True, timeout=seconds + 30)
    assert run.returncode == 0, run.stderr
    head, *stacks = run.stdout.splitlines()
    words = head.split()
    counts = {words[i]: int(words[i + 1]) for i in (0, 2, 4)}
    counts["last"] = head.split(" last ")[1].split(" unchanged ")[0]
    return counts, {text: int(count) for count, text in (s.split(" ", 1) for s in stacks)}


def stacks_of(document):
    """{thread name: [(function, line), ...]}, leaf first."""
    return {t["thread_name"]: frames_of(t) for t in document["threads"]}


def frames_of(holder):
    return [(f["name"], f.get("line")) for f in holder["frames"]]
