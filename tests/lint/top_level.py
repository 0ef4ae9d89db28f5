#!/usr/bin/env python3
"""The top level stays small: CMakeLists.txt src include config tests docker README.md, and dotfiles."""
import pathlib
import subprocess
import sys

ALLOWED = {"CMakeLists.txt", "src", "include", "config", "tests", "docker", "README.md"}


def check(root):
    names = subprocess.run(["git", "-C", str(root), "ls-tree", "--name-only", "HEAD"], capture_output=True, text=True)
    if names.returncode != 0:  # an unpacked archive: what lies here, build folders left out
        entries = {p.name for p in root.iterdir() if not p.name.startswith(("build", "cmake-build"))}
    else:
        entries = set(names.stdout.split())
    return [f"{name}: not among the allowed top-level entries" for name in sorted(entries)
            if name not in ALLOWED and not name.startswith(".")]


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    problems = check(root)
    print("\n".join(problems) or "top level: as agreed")
    sys.exit(bool(problems))
