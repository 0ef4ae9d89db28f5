#!/usr/bin/env python3
"""A new Python is a new row: outside the layout tables (src/pystack/layout*), no code of pystack knows a version number.

Comments and sentences (string literals with blanks) may name versions, since they speak to people; code may not.
"""
import pathlib
import re
import sys

# 3.11 or 3_11, 0x030b..., py311 and its kin, or a comparison with something called version.
VERSION = re.compile(
    r"(?<![\w.])3[._](?:[6-9]|1\d)(?!\d)|0x0*3[0-9a-f]{2}(?:[0-9a-f]{4})?\b|\b(?:py|cpython|python)_?3_?\d+"
    r"|\b\w*(?:version|minor)\w*\s*(?:>=|<=|==|!=|<|>)\s*0*[1-9]",
    re.I,
)


def only_code(text):
    """The same text with comments and sentences blanked out, so line numbers stay."""
    def blank(match):
        found = match.group(0)
        return found if found.startswith('"') and " " not in found else re.sub(r"[^\n]", " ", found)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', blank, text, flags=re.S)


def check(root):
    errors = []
    for path in sorted((root / "src" / "pystack").rglob("*.[ch]")):
        if path.name.startswith("layout"):
            continue
        for number, line in enumerate(only_code(path.read_text()).splitlines(), 1):
            found = VERSION.search(line)
            if found:
                errors.append(f"{path.relative_to(root)}:{number}: {found.group(0).strip()!r} belongs in a row of the layout table")
    return errors


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    problems = check(root)
    print("\n".join(problems) or "walker: no version number outside the layout tables")
    sys.exit(bool(problems))
