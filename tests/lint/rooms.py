#!/usr/bin/env python3
"""Arrows point down only: an include of <slowproxy/ROOM...> is allowed in ROOM itself and in rooms above it.

The map is read from CMakeLists.txt. Checked are src/, the faces in include/, and the unit tests, each of which
belongs to the room it is named after. src/app may know all rooms.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"](?:slowproxy/)([\w-]+)(?:\.h|/)', re.M)


def read_map(cmake_text):
    """{"proxy": {"http", "net", ...}}: what each room may use directly, libraries left out."""
    text = re.sub(r"#[^\n]*", "", cmake_text)
    found = re.findall(r"^room\((\w+)([^)]*)\)", text, re.M)
    names = {name for name, _ in found}
    return {name: set(body.split()) & names for name, body in found}


def below(rooms, room, seen=()):
    if room in seen:
        raise SystemExit(f"CMakeLists.txt: the rooms {' -> '.join(seen)} -> {room} form a circle")
    return {room}.union(*(below(rooms, deps, (*seen, room)) for deps in rooms[room]))


def owner_of(path):
    """The room a file belongs to; None: it may include anything (app) or is not ours to judge."""
    parts = path.parts
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else None
    if parts[:2] == ("include", "slowproxy"):
        return parts[2] if len(parts) > 3 else path.stem
    if parts[:2] == ("tests", "unit") and path.stem.endswith("_test"):
        return path.stem.split("_")[0]  # ROOM_test.c, ROOM_*_test.c
    return None


def check(root):
    rooms = read_map((root / "CMakeLists.txt").read_text())
    if not rooms:
        return ["CMakeLists.txt: no room(...) found"]
    errors = []
    for folder in ("src", "include", "tests/unit"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            owner = owner_of(path.relative_to(root))
            if owner is None or owner == "app":
                continue
            where = path.relative_to(root)
            if owner not in rooms:
                errors.append(f"{where}: belongs to no room of CMakeLists.txt")
                continue
            allowed = below(rooms, owner)
            text = path.read_text()
            for match in INCLUDE.finditer(text):
                if match.group(1) not in allowed:
                    line = text.count("\n", 0, match.start()) + 1
                    errors.append(f"{where}:{line}: {owner} may not include {match.group(1)} (see the map in CMakeLists.txt)")
    return errors


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    problems = check(root)
    print("\n".join(problems) or "rooms: every include points down")
    sys.exit(bool(problems))
