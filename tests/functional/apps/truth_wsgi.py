"""The same for WSGI: sleep and busy, each noted with the thread that did it. GET /truth gives the notes of all workers."""
import json
import os
import threading
import time
from urllib.parse import parse_qs

NOTES = os.environ["TRUTH_FILE"]


def busy_until(end):
    number = 0
    while time.monotonic() < end:
        for number in range(1000):
            number += 1
    return number


def wait_for_database(seconds):
    time.sleep(seconds)


def compute(seconds):
    busy_until(time.monotonic() + seconds)


KINDS = {"/wsgi-sleep": wait_for_database, "/wsgi-busy": compute}


def app(environ, start_response):
    query = parse_qs(environ.get("QUERY_STRING", ""))
    work = KINDS.get(environ["PATH_INFO"])
    if work:
        note = {"id": query["id"][0], "cause": environ["PATH_INFO"][1:], "pid": os.getpid(),
                "thread": threading.get_native_id(), "from": time.monotonic()}
        work(float(query["seconds"][0]))
        note["to"] = time.monotonic()
        with open(NOTES, "a") as notes:
            notes.write(json.dumps(note) + "\n")
    body = b"done"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
