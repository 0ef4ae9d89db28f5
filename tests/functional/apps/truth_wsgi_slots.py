"""The truth app for WSGI servers (see truth_kinds.py): GET /KIND/SLOT?seconds=S&id=ID, notes in $TRUTH_FILE.

    sleeps, receives (from a socket), computes
"""
import time
from urllib.parse import parse_qs

from truth_kinds import Doing, computes, receives, sleeps

KINDS = {"sleeps": (sleeps, "sleep"), "computes": (computes, "busy"), "receives": (receives, "sleep")}


def app(environ, start_response):
    begun = time.monotonic()
    kind, _, slot = environ["PATH_INFO"][1:].partition("/")
    if kind in KINDS:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        work, cause = KINDS[kind]
        with Doing(query["id"][0], cause, begun):
            work[int(slot)](float(query["seconds"][0]))
    body = b"done"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
