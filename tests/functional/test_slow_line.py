"""The slow line: when it comes, what it says, and that neither it nor anybody is lost when nobody reads it."""
import datetime
import json
import os
import re
import subprocess
import threading
import time

import pytest

from objects import SANITIZED, Client, Load, Process, Proxy, keep_answering, until

ALWAYS = {
    "ts": str, "level": str, "msg": str, "event": str, "service_name": str, "request_id": str, "trace_id": str, "span_id": str,
    "http_request_method": str, "url_path": str, "http_response_status_code": int, "network_protocol_version": str,
    "duration_ms": (int, float), "ttfb_ms": (int, float), "threshold_ms": (int, float), "client_address": str,
    "upstream_address": str, "upstream_reused": bool, "request_bytes": int, "response_bytes": int, "outcome": str,
    "attribution": str, "cause": str, "samples": int, "samples_expected": int, "samples_failed": int, "capture_status": str,
}
PHASES = ("upload_ms", "connect_ms", "queue_ms", "app_ms", "download_ms")


@pytest.mark.core
def test_keys_and_values(proxy):
    """The line has the keys of the contract, flat, and its figures agree with each other and with the client's clock."""
    response = proxy.client.get("/blocking?seconds=0.5&secret=hunter2", headers={"X-Request-ID": "ask-1", "Cookie": "pw=hunter2"})
    line = proxy.slow_line("/blocking")
    missing = [key for key in ALWAYS if key not in line]
    assert not missing
    wrong = [key for key, kind in ALWAYS.items() if not isinstance(line[key], kind)]
    assert not wrong
    assert not [key for key, value in line.items() if isinstance(value, (dict, list))]
    assert line["request_id"] == "ask-1"
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"]) and re.fullmatch("[0-9a-f]{16}", line["span_id"])
    assert line["http_request_method"] == "GET" and line["http_response_status_code"] == 200
    assert line["network_protocol_version"] == "1.1" and line["outcome"] == "ok"
    assert line["threshold_ms"] == 300
    assert 500 <= line["ttfb_ms"] <= line["duration_ms"] <= response.seconds * 1000 + 20
    assert line["ttfb_ms"] == pytest.approx(response.response_time * 1000, abs=1.01)
    assert sum(line.get(phase, 0) for phase in PHASES) == pytest.approx(line["duration_ms"], abs=0.01)
    assert line["app_ms"] == pytest.approx(500, abs=200)
    assert line["response_bytes"] == len(response.body)
    assert line["upstream_address"] == proxy.config["upstream"]
    told = datetime.datetime.fromisoformat(line["ts"][:26].rstrip("Z") + "+00:00")
    assert abs((datetime.datetime.now(datetime.timezone.utc) - told).total_seconds()) < 60 and line["ts"].endswith("Z")
    assert "hunter2" not in json.dumps(line)


@pytest.mark.core
def test_fast_requests_have_no_line(proxy):
    """Under the threshold there is no line, at and over it there is."""
    for _ in range(5):
        proxy.client.get("/")
        proxy.client.get("/await?seconds=0.2")
    proxy.client.get("/await?seconds=0.35")
    proxy.slow_line("/await")
    assert [line["url_path"] for line in proxy.slow_lines()] == ["/await"]


@pytest.mark.core
def test_thresholds_by_route(demo_app, make_proxy):
    """slow.routes: the first row that matches method and path sets the threshold; other routes keep the general one."""
    proxy = make_proxy(demo_app, slow={"threshold": "300ms", "routes": [
        {"match": "POST /await", "threshold": "1ms"},
        {"match": "GET /await", "threshold": "5s"},
        {"match": "/items/*", "threshold": "50ms"},
    ]})
    proxy.client.get("/await?seconds=0.5")
    proxy.client.get("/items/8?seconds=0.1")
    proxy.client.get("/blocking?seconds=0.4")
    proxy.slow_line("/blocking")
    assert {(line["url_path"], line["threshold_ms"]) for line in proxy.slow_lines()} == {("/items/8", 50), ("/blocking", 300)}


def test_error_answers_can_be_slow_too(scripted, make_proxy):
    """A request that ends in 504 after the threshold has its line, with the outcome."""
    backend = scripted(lambda connection: (connection.read_head(), connection.read_to_end()))
    proxy = make_proxy(backend, timeouts={"response": "500ms"})
    assert proxy.client.get("/never").status == 504
    line = proxy.slow_line("/never")
    assert line["outcome"] == "timeout_response" and line["http_response_status_code"] == 504


def test_client_abort_has_a_line(proxy):
    """A client that left after the threshold: the line says client_abort."""
    connection = proxy.client.raw()
    connection.send(b"GET /await?seconds=3 HTTP/1.1\r\nHost: t\r\n\r\n")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.6, "the threshold to pass")
    connection.close()
    assert proxy.slow_line("/await")["outcome"] == "client_abort"


def test_hostile_paths_stay_one_valid_line(scripted, make_proxy):
    """A path of odd bytes and of 8 KiB gives one line of valid JSON under 12 KiB."""
    def script(connection):
        connection.read_head()
        threading.Event().wait(0.4)  # the backend being slow is the very thing tested
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    proxy = make_proxy(scripted(script))
    for path in (b"/%22%0a%ff'$;--(&", b"/" + b"long/" * 1600):
        proxy.client.exchange_raw(b"GET " + path + b" HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    until(lambda: len(proxy.slow_lines()) == 2, "both lines")
    for raw in proxy.output().splitlines():
        if '"slow_request"' in raw:
            assert len(raw) < 12 * 1024 and json.loads(raw)


def test_no_line_is_lost_and_nobody_waits_when_stdout_is_not_read(scripted, folder):
    """With a full pipe on stdout requests stay as fast as before, and once it is read all lines are there."""
    def script(connection):
        while True:
            connection.read_head()
            threading.Event().wait(0.005)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    requests = 400
    ours, theirs = os.pipe()
    proxy = Proxy(folder, scripted(script), stdout=os.fdopen(theirs, "wb"), slow={"threshold": "1ms"},
                  capture={"enabled": False})
    try:
        times = []
        with proxy.client.keep_alive() as exchange:
            for number in range(requests):  # at some 700 bytes a line the pipe's 64 KiB are full after 100
                times.append(exchange("GET", f"/line/{number}" + "-" * 500).seconds)
        times.sort()
        assert times[-1] < 1.0, f"slowest request: {times[-1]} s"
        assert times[len(times) // 2] < 0.1
        seen = set()
        dropped = []

        def read():
            with os.fdopen(ours) as pipe:
                for text in pipe:
                    entry = json.loads(text)
                    if entry.get("event") == "slow_request":
                        seen.add(int(re.match(r"/line/(\d+)", entry["url_path"]).group(1)))
                    elif "drop" in text:
                        dropped.append(text)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        until(lambda: len(seen) == requests or dropped, "all lines")
        assert not dropped and seen == set(range(requests))
    finally:
        proxy.stop()


def test_dropped_lines_are_counted(scripted, folder):
    """When even the queue is full, lines are dropped, not requests; and it is said how many."""
    def script(connection):
        while True:
            connection.read_head()
            threading.Event().wait(0.002)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    ours, theirs = os.pipe()
    proxy = Proxy(folder, scripted(script), stdout=os.fdopen(theirs, "wb"), slow={"threshold": "1ms"},
                  capture={"enabled": False}, logs={"slow": "stdout", "queue_lines": 64})
    try:
        counted = Load(proxy.listen, folder, seconds=2).finish()
        assert counted["requests"] > 500 and counted["bad_status"] == 0 and counted["socket_errors"] == 0
        said = []

        def read():
            with os.fdopen(ours) as pipe:
                for text in pipe:
                    if "drop" in text and '"slow_request"' not in text:
                        said.append(text)

        threading.Thread(target=read, daemon=True).start()
        until(lambda: said or "drop" in proxy.errors(), "the line that says how many were dropped")
    finally:
        proxy.stop()


def test_slow_log_into_a_file(demo_app, make_proxy, folder):
    """logs.slow may be a file's path."""
    path = f"{folder}/slow.log"
    open(path, "w").close()
    os.chmod(path, 0o666)
    proxy = make_proxy(demo_app, logs={"slow": path})
    proxy.client.get("/await?seconds=0.4")
    until(lambda: '"slow_request"' in open(path).read(), "the line in the file")
