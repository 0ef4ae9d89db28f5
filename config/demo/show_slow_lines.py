#!/usr/bin/python3
"""Reads slowproxy's JSON lines on standard input and shows the slow requests among them to a person.

With --follow FILE it shows what is added to FILE from now on, until it is ended.
With --expect "PATH FUNCTION ..." it also judges: status 1 unless the line of each PATH names that FUNCTION and its flame
graph exists and contains it.
"""
import argparse
import json
import os
import sys
import time

# What each cause means, in words.
CAUSES = {
    "cpu": "computing",
    "blocking_call": "a call that blocks the thread",
    "await": "awaiting",
    "blocked_by": "another request held the event loop",
    "queued": "waiting for a worker",
    "gil_wait": "waiting for the GIL",
    "gc": "garbage collection",
    "client_slow": "the client was slow",
    "connect": "connecting to the backend",
    "unknown": "unknown",
}
SHARES = ("cpu_ms", "blocking_ms", "await_ms", "gil_wait_ms", "blocked_by_ms", "queued_ms", "gc_ms")


def followed(path):
    """The lines that are added to a file, for ever."""
    with open(path, encoding="utf-8") as stream:
        stream.seek(0, os.SEEK_END)
        begun = ""
        while True:
            begun += stream.readline()
            if begun.endswith("\n"):
                yield begun
                begun = ""
            else:
                time.sleep(0.1)


def slow_lines(stream):
    for line in stream:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and str(entry.get("event", "")).startswith("slow_request"):
            yield entry


def flame_graph_of(entry):
    """The HTML page beside whatever profile file the line names; None when there is none."""
    named = entry.get("profile_file")
    if not named:
        return None
    page = os.path.splitext(named)[0] + ".html"
    return page if os.path.exists(page) else None


def show(entry):
    cause = CAUSES.get(entry.get("cause"), entry.get("cause"))
    print(f"\n  {entry.get('http_request_method')} {entry.get('url_path')}"
          f"   route {entry.get('http_route', '(none)')}   {entry.get('http_response_status_code', '-')}   {entry.get('duration_ms', 0) / 1000:.3f} s"
          f"   (threshold {entry.get('threshold_ms', 0) / 1000:g} s)")
    shares = ", ".join(f"{key[:-3]} {entry[key]:.0f} ms" for key in SHARES if entry.get(key))
    print(f"    cause     {cause}" + (f"   [{shares}]" if shares else ""))
    if entry.get("code_function_name"):
        print(f"    where     {entry['code_function_name']}   {entry.get('code_file_path')}:{entry.get('code_line_number')}")
    print(f"    worker    pid {entry.get('worker_pid', '?')}, Python {entry.get('worker_python', '?')}")
    capture = f"{entry.get('samples', 0)} of {entry.get('samples_expected', '?')} samples, {entry.get('capture_status')}"
    if entry.get("capture_reason"):
        capture += f": {entry['capture_reason']}"
    print(f"    capture   {capture}")
    print(f"    flames    {flame_graph_of(entry) or '(none)'}")


def judge(entries, expectations):
    """One sentence for each expectation that was not met."""
    failures = []
    for path, function in expectations:
        entry = next((e for e in entries if e.get("url_path") == path), None)
        if entry is None:
            failures.append(f"{path}: no slow line")
            continue
        if not entry.get("http_route"):
            failures.append(f"{path}: the line names no route")
        named = entry.get("code_function_name") or "no function"
        if named.split(".")[-1] != function:
            failures.append(f"{path}: the line names {named}, not {function}")
        page = flame_graph_of(entry)
        if page is None:
            failures.append(f"{path}: no flame graph ({entry.get('profile_file') or 'profile_file is absent'})")
        else:
            with open(page, encoding="utf-8") as text:
                if function not in text.read():
                    failures.append(f"{path}: {function} is not in its flame graph {page}")
    for entry in entries:
        if entry.get("url_path") not in dict(expectations):
            failures.append(f"{entry.get('url_path')}: was fast and has a slow line")
    return failures


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--expect", metavar="'PATH FUNCTION ...'", default="")
    options.add_argument("--follow", metavar="FILE")
    arguments = options.parse_args()
    expected = arguments.expect.split()
    entries = []
    for entry in slow_lines(followed(arguments.follow) if arguments.follow else sys.stdin):
        show(entry)
        sys.stdout.flush()
        entries.append(entry)
    failures = judge(entries, list(zip(expected[::2], expected[1::2]))) if expected else []
    for failure in failures:
        print(f"  NOT RIGHT: {failure}")
    return bool(failures)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
