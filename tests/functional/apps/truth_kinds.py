"""What the truth apps share: work whose function is the request's own, and notes of what truly happened.

Each request names a slot (0..127). Its work runs in functions that exist for this slot alone (waits_17), so that a line that
names one of them names the very request. Notes: when the app was called (begun), and the stretch of the work itself
(from..to), on CLOCK_MONOTONIC; with its thread, process and cause.
"""
import json
import os
import threading
import time
import types

SLOTS = 128
FILE = os.environ.get("TRUTH_FILE")


def for_slots(function):
    """One copy of the function for each slot, with a code object and a name of its own."""
    copies = []
    for slot in range(SLOTS):
        name = f"{function.__name__}_{slot}"
        changes = {"co_name": name}
        if hasattr(function.__code__, "co_qualname"):
            changes["co_qualname"] = name
        copies.append(types.FunctionType(function.__code__.replace(**changes), function.__globals__, name))
    return copies


class Notes:
    """Kept in this process, and written as lines of JSON where the truth is asked of a file."""

    def __init__(self):
        self.kept = []
        self.lock = threading.Lock()

    def add(self, note):
        self.kept.append(note)
        if FILE:
            with self.lock, open(FILE, "a") as file:
                file.write(json.dumps(note) + "\n")


NOTES = Notes()


class Doing:
    """with Doing(id, cause, begun): what happens meanwhile is what the request truly does."""

    def __init__(self, own_id, cause, begun, due=None):
        self.note = {"id": own_id, "cause": cause, "begun": begun, "pid": os.getpid(), "thread": threading.get_native_id()}
        self.due = due

    def __enter__(self):
        self.note["from"] = time.monotonic()
        if self.due is not None:
            self.waits(self.due)
        return self

    def waits(self, seconds):
        """What it waits for is there then, whoever holds the loop; a child task that is begun later begins to wait later."""
        self.note["from"] = time.monotonic()
        self.note["due"] = self.note["from"] + seconds

    def __exit__(self, *_):
        self.note["to"] = time.monotonic()
        NOTES.add(self.note)


def busy_until(end):
    number = 0
    while time.monotonic() < end:
        for number in range(1000):
            number += 1
    return number


@for_slots
def sleeps(seconds):
    time.sleep(seconds)


@for_slots
def computes(seconds):
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        for number in range(1000):
            number += 1
    return number


@for_slots
def receives(seconds):
    import socket
    ours, theirs = socket.socketpair()
    timer = threading.Timer(seconds, theirs.send, [b"x"])
    timer.daemon = True
    timer.start()
    ours.recv(1)
    ours.close()
    theirs.close()
