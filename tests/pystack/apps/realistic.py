"""A loop of ordinary pure-Python work: parsing, tokenizing, comparing, JSON."""
import ast
import difflib
import inspect
import io
import json
import textwrap
import tokenize

SOURCE = inspect.getsource(textwrap)
LINES = SOURCE.splitlines()[:60]
TREE = ast.parse(SOURCE)
OTHER = LINES[10:] + LINES[:10]


def run():
    while True:
        ast.dump(TREE)
        list(tokenize.generate_tokens(io.StringIO(SOURCE).readline))
        list(difflib.ndiff(LINES, OTHER))
        json.loads(json.dumps({str(i): list(range(i)) for i in range(30)}, indent=1))


print("ready", flush=True)
run()
