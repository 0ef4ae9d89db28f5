"""A bare WSGI application, for gunicorn's sync workers."""
import json
import os
import time
from urllib.parse import parse_qs


def app(environ, start_response):
    path = environ["PATH_INFO"]
    seconds = float(parse_qs(environ.get("QUERY_STRING", "")).get("seconds", ["0"])[0])
    if path == "/blocking":
        call_legacy_service(seconds)
    if path == "/cpu":
        sum_of_squares_until(time.monotonic() + seconds)
    body = json.dumps({"pid": os.getpid(), "path": path}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def call_legacy_service(seconds):
    time.sleep(seconds)


def sum_of_squares_until(deadline):
    total = 0
    while time.monotonic() < deadline:
        for number in range(2000):
            total += number * number
    return total
