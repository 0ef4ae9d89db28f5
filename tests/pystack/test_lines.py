"""Line tables: what we decode is what CPython itself says, for every code object of many modules."""
import json
import subprocess

from conftest import FOUND, TOOL

ASK = r"""
import dis, importlib, json, sys, types
def walk(code):
    yield code
    for c in code.co_consts:
        if isinstance(c, types.CodeType): yield from walk(c)
out = []
for name in sys.argv[1:]:
    try: spec = importlib.util.find_spec(name)
    except ImportError: continue
    try: source = open(spec.origin, encoding="utf-8").read()
    except (OSError, UnicodeDecodeError): continue
    for code in walk(compile(source, spec.origin, "exec")):
        lines = [0] * (len(code.co_code) // 2)
        if hasattr(code, "co_lines"):
            for start, end, line in code.co_lines():
                for unit in range(start // 2, end // 2): lines[unit] = line or 0
        else:
            starts = dict(reversed(list(dis.findlinestarts(code))))
            line = code.co_firstlineno
            for unit in range(len(lines)):
                line = starts.get(2 * unit, line)
                lines[unit] = line
        table = code.co_linetable if hasattr(code, "co_linetable") else code.co_lnotab
        out.append((code.co_name, code.co_firstlineno, table.hex(), lines))
json.dump(out, sys.stdout)
"""
MODULES = ["argparse", "ast", "asyncio.base_events", "asyncio.tasks", "collections", "dataclasses", "datetime", "decimal",
           "difflib", "email.message", "enum", "functools", "http.client", "inspect", "ipaddress", "json.decoder", "logging",
           "pathlib", "pickle", "pydoc", "re._parser", "shutil", "socket", "ssl", "statistics", "subprocess", "tarfile",
           "tempfile", "textwrap", "threading", "tokenize", "typing", "unittest.mock", "urllib.parse", "zipfile", "pydoc_data.topics"]


def test_lines_are_cpythons_own(python):
    """co_lines() (before 3.10: dis.findlinestarts) of every function of three dozen modules, unit by unit."""
    run = subprocess.run([python, "-c", "import importlib.util\n" + ASK, *MODULES], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    codes = json.loads(run.stdout)
    assert len(codes) > 3000
    kind = "lnotab" if FOUND[python] < (3, 10) else "ranges" if FOUND[python] < (3, 11) else "locations"
    asked = "".join(f"{first} {len(lines)} {table}\n" for _, first, table, lines in codes)
    answer = subprocess.run([TOOL, "lines", kind], input=asked, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(answer) == len(codes)
    for (name, _, _, lines), got in zip(codes, answer):
        assert [int(n) for n in got.split()] == lines, name
