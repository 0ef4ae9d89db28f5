"""slowproxy record: where the time of a process goes, in files that their real readers open."""
import gzip
import json
import os
import pathlib
import pstats
import re
import shutil
import signal
import subprocess
import time
import xml.dom.minidom

import pytest

from objects import BINARY, until

TARGET = pathlib.Path(__file__).parent / "apps" / "record_target.py"
FAMILY = TARGET.parent / "family.py"
PYTHON = "/usr/bin/python3"
TARGET_STARTED = time.time()
SUMMARY = re.compile(r"slowproxy> Wrote .+ to '.+'\. Samples: (\d+) Errors: (\d+)\nslowproxy> (\d+) looks in ([\d.]+) s, (\d+) missed, latest [\d.]+ ms late")


def record(*arguments, **options):
    return subprocess.run([BINARY, "record", *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def target():
    process = subprocess.Popen([PYTHON, TARGET], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def recorded(target, folder, name, *options):
    """The file that a second of recording makes."""
    file = pathlib.Path(folder) / name
    run = record("--pid", target.pid, "-o", file, "-d", 1, *options)
    assert run.returncode == 0, run.stderr
    assert SUMMARY.search(run.stderr), run.stderr
    assert os.listdir(folder) == [name]
    return file


def stacks_of(text):
    """{stack: samples} of collapsed stacks."""
    return {stack: int(count) for stack, count in (line.rsplit(" ", 1) for line in text.splitlines())}


@pytest.mark.core
def test_raw_names_where_the_time_goes(target):
    """A second at 100 Hz of a process that computes: nearly all samples are in compute, called by work; the sleeping thread is left out."""
    run = record("-p", hex(target.pid), "-o", "-", "-d", 1, "-f", "raw")
    assert run.returncode == 0, run.stderr
    stacks = stacks_of(run.stdout)
    total = sum(stacks.values())
    computing = sum(n for stack, n in stacks.items() if re.search(r"work \(record_target.py:\d+\);compute \(record_target.py:8\)", stack))
    dozing = sum(n for stack, n in stacks.items() if "doze" in stack)
    samples, errors, looks, seconds, missed = map(float, SUMMARY.search(run.stderr).groups())
    assert samples == total and 0.9 <= seconds < 5
    assert looks + missed >= 90 and errors <= looks / 20
    assert computing >= 0.8 * looks and dozing <= 0.2 * looks


def test_idle_threads_and_lanes(target):
    """-i takes the sleeping thread, too; -t roots each stack in its thread; -g takes only who holds the GIL."""
    stacks = stacks_of(record("-p", target.pid, "-o", "-", "-d", 0.5, "-f", "raw", "-i", "-t").stdout)
    assert any("doze" in stack for stack in stacks)
    assert all(re.match(r"[^;]+ \(\d+\);", stack) for stack in stacks), stacks
    stacks = stacks_of(record("-p", target.pid, "-o", "-", "-d", 0.5, "-f", "raw", "-g").stdout)
    assert stacks and sum(n for s, n in stacks.items() if "compute" in s) >= 0.8 * sum(stacks.values())


def test_how_frames_are_written(target):
    """--nolineno leaves lines out, -F tells the first line of a function, --full-filenames the whole path."""
    def frames(*options):
        text = record("-p", target.pid, "-o", "-", "-d", 0.5, "-f", "raw", *options).stdout
        return {frame for stack in stacks_of(text) for frame in stack.split(";")}

    assert "compute (record_target.py)" in frames("--nolineno")
    first = 1 + TARGET.read_text().splitlines().index("def work(seconds):")
    assert f"work (record_target.py:{first})" in frames("--function")
    assert f"compute ({TARGET}:{first - 3})" in frames("--full-filenames")


def test_speedscope(target, folder):
    """The file keeps to what speedscope's schema asks of sampled profiles, a profile for each thread."""
    document = json.loads(recorded(target, folder, "profile.json", "-f", "speedscope", "-i").read_text())
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = document["shared"]["frames"]
    assert all(isinstance(f["name"], str) and set(f) <= {"name", "file", "line", "col"} for f in frames)
    assert len(document["profiles"]) == 2 and document["activeProfileIndex"] == 0
    for profile in document["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled" and profile["unit"] == "milliseconds"
        assert len(profile["samples"]) == len(profile["weights"]) > 10
        assert abs(sum(profile["weights"]) - (profile["endValue"] - profile["startValue"])) < 0.01
        assert all(0 <= i < len(frames) for sample in profile["samples"] for i in sample)
    leaves = [{frames[sample[-1]]["name"] for sample in p["samples"]} for p in document["profiles"]]
    assert any("compute" in names or "compute.<locals>.<genexpr>" in names for names in leaves) and {"doze"} in leaves


def test_blocking(target):
    """--blocking sees the same, of a process that goes on afterwards, and is traced by nobody."""
    run = record("-p", target.pid, "-o", "-", "-d", 0.7, "-f", "raw", "--blocking")
    stacks = stacks_of(run.stdout)
    assert run.returncode == 0 and "Errors: 0" in run.stderr, run.stderr
    assert sum(n for s, n in stacks.items() if "work (" in s) >= 0.8 * sum(stacks.values()) > 0
    assert sum(n for s, n in stacks.items() if "doze" in s) <= 0.2 * sum(stacks.values())
    assert "TracerPid:\t0" in pathlib.Path(f"/proc/{target.pid}/status").read_text() and target.poll() is None


def test_chrometrace(target, folder):
    """Slices of each thread begin and end in order, whatever is open lies within its caller, and most of the time is in work."""
    document = json.loads(recorded(target, folder, "profile.json", "-f", "chrometrace", "-i").read_text())
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert len(names) == 2 and all(pid == target.pid for pid, _ in names)
    assert {name.split(" (")[0] for name in names.values()} == {"MainThread", "dozing"}
    spent = {}
    for thread in names:
        open_, last = [], 0.0
        for event in (e for e in document["traceEvents"] if (e["pid"], e["tid"]) == thread and e["ph"] != "M"):
            assert event["ts"] >= last
            last = event["ts"]
            if event["ph"] == "B":
                open_.append(event)
                continue
            begun = open_.pop()
            assert event["ph"] == "E" and event["name"] == begun["name"]
            spent[begun["name"]] = spent.get(begun["name"], 0) + event["ts"] - begun["ts"]
        assert open_ == [] and last >= 0.5e6
    work = next(e for e in document["traceEvents"] if e["name"] == "work" and e["ph"] == "B")
    assert work["args"]["filename"] == "record_target.py" and work["args"]["line"] > 0
    assert spent["work"] >= 0.8 * spent["<module>"] > 0 and spent["doze"] >= 0.5e6


def test_gecko(target, folder):
    """The tables the Firefox profiler documents: columns of one length, indexes that point into them, prefixes before their stacks."""
    document = json.loads(recorded(target, folder, "profile.json", "-f", "gecko", "-i").read_text())
    meta = document["meta"]
    assert meta["preprocessedProfileVersion"] == 47 and meta["interval"] == 10 and meta["markerSchema"] == []
    assert any(c["color"] == "grey" for c in meta["categories"]) and all(c["subcategories"] for c in meta["categories"])
    assert abs(meta["startTime"] / 1000 - TARGET_STARTED) < 3600
    stacks = {}
    for thread in document["threads"]:
        for table in ("samples", "stackTable", "frameTable", "funcTable", "markers", "resourceTable", "nativeSymbols"):
            columns = {key: column for key, column in thread[table].items() if key not in ("length", "weightType")}
            assert columns and all(len(column) == thread[table]["length"] for column in columns.values()), table
        samples, stack, frame, func = (thread[t] for t in ("samples", "stackTable", "frameTable", "funcTable"))
        assert thread["pid"] == str(target.pid) and thread["isMainThread"] == (thread["tid"] == target.pid)
        assert samples["time"] == sorted(samples["time"]) and set(samples["weight"]) == {1}
        assert all(prefix is None or prefix < i for i, prefix in enumerate(stack["prefix"]))
        for node in samples["stack"]:
            names = []
            while node is not None:
                at = frame["func"][stack["frame"][node]]
                names.append(thread["stringArray"][func["name"][at]])
                assert thread["stringArray"][func["fileName"][at]]
                node = stack["prefix"][node]
            stacks.setdefault(thread["name"].split(" (")[0], []).append(names[::-1])
    assert sum("work" in names for names in stacks["MainThread"]) >= 0.8 * len(stacks["MainThread"]) > 0
    assert all(names[-1] == "doze" for names in stacks["dozing"])


def test_html_and_its_name(target, folder):
    """A name that ends in .html asks for the page, which tells the whole path."""
    page = recorded(target, folder, "profile.html").read_text()
    assert page.lower().startswith("<!doctype html>") and f'"{TARGET}"' in page


def test_svg(target, folder):
    """The drawing is XML, and its boxes lie within those of their callers; a process that computes fills its width."""
    document = xml.dom.minidom.parse(str(recorded(target, folder, "profile.svg")))
    boxes = [g for g in document.getElementsByTagName("g") if g.hasAttribute("data-n")]
    titles = [g.getElementsByTagName("title")[0].firstChild.data for g in boxes]
    assert titles[0].startswith("all (")
    share = next(float(re.search(r"([\d.]+)%", t).group(1)) for t in titles if t.startswith("compute ("))
    assert share >= 70
    rows = {}
    for g in boxes:
        rect = g.getElementsByTagName("rect")[0]
        begin = int(g.getAttribute("data-b"))
        rows.setdefault(int(rect.getAttribute("y")), []).append((begin, begin + int(g.getAttribute("data-n"))))
    levels = [sorted(rows[y]) for y in sorted(rows)]
    for above, below in zip(levels, levels[1:]):
        assert all(any(a <= begin and end <= b for a, b in above) for begin, end in below)
        assert all(left[1] <= right[0] for left, right in zip(below, below[1:]))


@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="SKIPPED: chromium or chromedriver is not installed")
def test_svg_in_a_browser(target, folder, tmp_path):
    """Chromium opens the drawing: a click zooms, Escape takes it back, a search tells the share of what matched."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="SKIPPED: python3-selenium is not installed")
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1400,1000", f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    file = recorded(target, folder, "profile.svg")
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        driver.get(file.as_uri())
        find = """const g = [...document.querySelectorAll("g[data-n]")].find(g => g.querySelector("title").textContent.startsWith(arguments[0]));"""
        width = lambda name: driver.execute_script(find + "return +g.querySelector('rect').getAttribute('width')", name)
        press = lambda key: driver.execute_script("dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0] }))", key)
        before = width("compute.<locals>.<genexpr> ")
        driver.execute_script(find + "g.dispatchEvent(new MouseEvent('click'))", "compute.<locals>.<genexpr> ")
        assert width("compute.<locals>.<genexpr> ") == 1180 > before
        press("Escape")
        assert abs(width("compute.<locals>.<genexpr> ") - before) < 1
        driver.execute_script("setTimeout(() => dispatchEvent(new KeyboardEvent('keydown', { key: '/' })), 0)")
        from selenium.webdriver.support.ui import WebDriverWait
        from selenium.webdriver.support import expected_conditions
        alert = WebDriverWait(driver, 10).until(expected_conditions.alert_is_present())
        alert.send_keys("^compute")
        alert.accept()
        matched = lambda: driver.execute_script("return document.getElementById('matched').textContent")
        assert float(WebDriverWait(driver, 10).until(lambda _: matched()).split("%")[0]) >= 70
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        driver.quit()


def test_pstats(target, folder):
    """Python's own pstats loads the table; work stands for nearly all the time, compute is called by it."""
    table = pstats.Stats(str(recorded(target, folder, "profile.pstats"))).stats
    rows = {name: (file, calls, own, all_) + (callers,) for (file, _, name), (_, calls, own, all_, callers) in table.items()}
    file, calls, own, cumulative, _ = rows["work"]
    assert file == str(TARGET) and calls >= 50 and cumulative >= 0.5 > own
    assert {name for _, _, name in rows["compute"][4]} == {"work"}
    assert abs(sum(own for _, _, own, _, _ in table.values()) - rows["<module>"][3]) <= 0.1


def fields(message):
    """(number, value) of each field of a protocol buffer: the small part of the format that pprof uses."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        key = varint()
        assert key & 7 in (0, 2)
        value = varint()
        if key & 7 == 2:
            assert at + value <= len(message)
            value, at = message[at:at + value], at + value
        yield key >> 3, value


def unpacked(packed):
    values, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    return values


def test_pprof(target, folder):
    """gzip and a decoder of protocol buffers read the file: leaf first, two values a sample, names and lines where they belong."""
    parts = {}
    for number, value in fields(gzip.decompress(recorded(target, folder, "profile.pb.gz", "-t").read_bytes())):
        parts.setdefault(number, []).append(value)
    texts = [text.decode() for text in parts[6]]
    assert texts[0] == ""
    types = [[texts[v] for _, v in fields(t)] for t in parts[1]]
    assert types == [["samples", "count"], ["wall", "nanoseconds"]]
    functions = {f[1]: (texts[f[2]], texts[f[4]]) for f in (dict(fields(f)) for f in parts[5])}
    locations = {}
    for location in map(dict, map(fields, parts[4])):
        line = dict(fields(location[4]))
        locations[location[1]] = functions[line[1]] + (line[2],)
    total = computing = 0
    for sample in map(dict, map(fields, parts[2])):
        stack, (count, wall_ns) = [locations[i] for i in unpacked(sample[1])], unpacked(sample[2])
        label = dict(fields(sample[3]))
        assert texts[label[1]] == "thread" and re.fullmatch(r".+ \(\d+\)", texts[label[2]])
        assert wall_ns == count * 10_000_000
        total += count
        computing += count if ("compute", str(TARGET), 8) in stack[:2] and stack[-1][0] == "<module>" else 0
    assert total >= 50 and computing >= 0.7 * total


@pytest.mark.core
def test_ctrl_c_ends_and_writes(target, folder):
    """INT ends the recording: the file is written, the status is 0, and the process goes on."""
    file = pathlib.Path(folder) / "profile.txt"
    recording = subprocess.Popen([BINARY, "record", "-p", str(target.pid), "-o", file, "-f", "raw", "-r", "1000"], stderr=subprocess.PIPE, text=True)
    switches = lambda: int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", status.read_text()).group(1))
    status = pathlib.Path(f"/proc/{recording.pid}/status")
    goes_on = lambda: recording.poll() is None or pytest.fail(f"record ended with {recording.returncode}: {recording.stderr.read()}")
    until(lambda: goes_on() and switches() > 40, "forty looks")  # SigBlk does not show what sigtimedwait waits for
    recording.send_signal(signal.SIGINT)
    _, errors = recording.communicate(timeout=30)
    assert recording.returncode == 0 and SUMMARY.search(errors) and file.exists(), errors
    assert target.poll() is None


def test_young_processes_are_read(folder):
    """Whoever looks at a process in its first moments, again and again, is never told that it makes no sense."""
    for number in range(12):
        young = subprocess.Popen([PYTHON, TARGET], stdout=subprocess.DEVNULL)
        try:
            run = record("--pid", young.pid, "-d", 0.05, "-o", "-", "-f", "raw") if number % 2 else \
                subprocess.run([BINARY, "dump", "-p", str(young.pid)], capture_output=True, text=True, timeout=20)
            assert run.returncode == 0, run.stderr
        finally:
            young.kill()
            young.wait()


def test_a_target_that_dies_leaves_what_there_is(folder):
    """The process is killed in the middle, and nobody waits for it: what was seen is written, and the end is told."""
    process = subprocess.Popen([PYTHON, TARGET], stdout=subprocess.PIPE)
    process.stdout.readline()
    file = pathlib.Path(folder) / "profile.txt"
    recording = subprocess.Popen([BINARY, "record", "-p", str(process.pid), "-o", file, "-f", "raw", "-i"], stderr=subprocess.PIPE, text=True)
    switches = pathlib.Path(f"/proc/{recording.pid}/status")
    until(lambda: int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", switches.read_text()).group(1)) > 40, "forty looks")
    process.kill()
    _, errors = recording.communicate(timeout=30)
    process.wait()
    process.stdout.close()
    assert recording.returncode == 0 and "The process ended before" in errors, errors
    assert "compute" in file.read_text()


def test_a_command_is_launched_and_ended(folder):
    """record -- COMMAND starts it and looks at it from its beginning; when the time is over, it is ended."""
    run = record("-d", 1, "-f", "raw", "-o", "-", "--", PYTHON, TARGET)
    assert run.returncode == 0, run.stderr
    assert "compute (record_target.py" in run.stdout
    assert "doze" not in run.stdout or run.stdout.count("doze") <= 3


def test_a_command_that_ends_by_itself(folder):
    """A command that ends before the time is over ends the recording; its status is told, and ours."""
    run = record("-d", 50, "-f", "raw", "-o", "-", "--", PYTHON, TARGET, "0.7", "3")
    assert run.returncode == 3 and "ended with status 3" in run.stderr, run.stderr
    assert "compute" in run.stdout


@pytest.mark.parametrize("shell", [False, True])
def test_subprocesses(shell):
    """-s follows a forked and a spawned child, also of a process that is no Python: each stack tells its process, each in its own function."""
    command = [PYTHON, FAMILY, "1.5"]
    run = record("-s", "-f", "raw", "-o", "-", "--", *(["sh", "-c", '"$@"; :', "sh", *command] if shell else command))
    assert run.returncode == 0, run.stderr
    found = {}
    for stack, count in stacks_of(run.stdout).items():
        process = re.match(r"process (\d+): \S*python", stack).group(1)
        for function in ("in_fork", "in_spawned"):
            if f";{function} (family.py" in stack:
                found.setdefault(function, set()).add(process)
        if ";burn" in stack and not any(f in stack for f in ("in_fork", "in_spawned")):
            found.setdefault("itself", set()).add(process)
    assert set(found) == {"in_fork", "in_spawned", "itself"} and all(len(processes) == 1 for processes in found.values()), found
    assert len(set.union(*found.values())) == 3
    assert int(re.search(r"(\d+) Python processes", run.stderr).group(1)) >= 3


def test_without_subprocesses_children_are_left_out():
    """Without -s only the process itself is there."""
    run = record("-f", "raw", "-o", "-", "--", PYTHON, FAMILY, "0.5")
    assert run.returncode == 0 and "burn" in run.stdout and "in_fork" not in run.stdout and "process " not in run.stdout


def test_another_python_by_exec():
    """A process that becomes another Python is followed into it."""
    text = "import os, sys, time\ndef before():\n    end = time.monotonic() + 0.6\n    while time.monotonic() < end: pass\nbefore()\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    run = record("-f", "raw", "-o", "-", "--", PYTHON, "-c", text, TARGET, "0.6")
    assert run.returncode == 0 and "before (<string>" in run.stdout and "compute (record_target.py" in run.stdout, run.stderr


def test_no_python_any_more_by_exec():
    """A process that becomes another program is no longer Python: that is told, and what there is is written."""
    text = "import os, time\ndef before():\n    end = time.monotonic() + 0.6\n    while time.monotonic() < end: pass\nbefore()\nos.execlp('sleep', 'sleep', '30')"
    run = record("-f", "raw", "-o", "-", "--", PYTHON, "-c", text)
    assert run.returncode == 0 and "before" in run.stdout and "became another program, which is not Python" in run.stderr


@pytest.mark.parametrize("arguments, status, sentence", [
    ([], 2, "which process"),
    (["-p", "1", "--", "true"], 2, "which process"),
    (["-p", "zero"], 2, "zero: is not a process id"),
    (["-p", "1", "-f", "jpeg"], 2, "jpeg: is not a format"),
    (["-p", "1", "-r", "0"], 2, "0: is not a rate"),
    (["-p", "1", "-d", "soon"], 2, "soon: is not a number of seconds"),
    (["-p", str(2 ** 22 - 1), "-o", "x.svg"], 1, ""),
    (["-p", str(os.getpid()), "-o", "/no/such/folder/x.svg"], 1, "cannot write /no/such/folder/x.svg"),
    (["-p", str(os.getpid()), "-o", "."], 1, "cannot write .: Is a directory"),
    (["-o", "x.svg", "--", "/no/such/program"], 127, "cannot run /no/such/program: No such file"),
    (["-o", "x.svg", "--", "true"], 1, "true ended before its stacks could be read"),
])
def test_what_cannot_be_recorded(folder, arguments, status, sentence):
    """Bad input is one sentence and a status; no file is left behind."""
    run = record(*arguments, cwd=folder)
    assert run.returncode == status and sentence in run.stderr, run.stderr
    assert len(run.stderr.splitlines()[0].split()) >= 4 and os.listdir(folder) == []
