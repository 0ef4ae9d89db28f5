"""Pushing to Loki and Pyroscope: what arrives is decoded here with other code, and what fails is tried again or counted."""
import base64
import contextlib
import gzip
import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import objects
from objects import SANITIZED, until
from test_record import fields, unpacked


class Place:
    """A server that takes what is pushed. `answers` are statuses for the next requests; then 204 (or what `status` says)."""

    def __init__(self, status=204, port=0, context=None):
        self.requests, self.answers, self.status, self.hold = [], [], status, threading.Event()
        self.hold.set()
        self.connections = []
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                place.connections.append(self.request)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                place.requests.append((self.path, dict(self.headers), json.loads(gzip.decompress(body))))
                place.hold.wait(30)
                answer = place.answers.pop(0) if place.answers else place.status
                self.send_response(answer)
                if answer == 429:
                    self.send_header("Retry-After", "1")
                said = b"no thanks" if answer >= 300 else b""
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def entries(self):
        """Of Loki: (stream labels, instant, line, metadata) of each entry that came."""
        return [(stream["stream"], *value) for _, _, body in self.requests for stream in body["streams"] for value in stream["values"]]


@pytest.fixture
def make_place():
    made = []

    def make(**options):
        made.append(Place(**options))
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.mark.core
def test_a_slow_line_reaches_loki(demo_app, make_proxy, make_place):
    """Loki gets the very line of standard output, at its instant, with its ids as metadata, under labels that are few."""
    loki = make_place()
    loki.answers = [503, 429]
    proxy = make_proxy(demo_app, service="web", logs={"loki": {
        "url": loki.url, "labels": ["env=prod"], "tenant": "team-a", "headers": ["X-Extra: 1"], "user": "u", "password": "p"}})
    proxy.client.get("/blocking?seconds=0.4")
    line = proxy.slow_line("/blocking")
    until(lambda: len(loki.requests) >= 3, "the third try")
    path, headers, _ = loki.requests[0]
    assert path == "/loki/api/v1/push" and headers["Content-Type"] == "application/json" and headers["X-Scope-OrgID"] == "team-a"
    assert headers["X-Extra"] == "1" and base64.b64decode(headers["Authorization"].split()[1]) == b"u:p"
    assert loki.requests[0][2] == loki.requests[1][2] == loki.requests[2][2]
    (labels, instant, text, metadata), = loki.entries()[:1]
    assert labels == {"service_name": "web", "env": "prod"}
    assert json.loads(text) == line and text in proxy.output()
    assert metadata == {"trace_id": line["trace_id"], "span_id": line["span_id"]}
    told = line["ts"][:19] + "Z"
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(instant) // 10**9)) == told and line["ts"][20:29] == instant[-9:]
    until(lambda: "Loki takes lines again" in proxy.log(), "the recovery to be said")
    assert "status 503: no thanks" in proxy.log()


def test_access_lines_too_and_together(demo_app, make_proxy, make_place):
    """With logs.loki.access each request has a line there, many in one request; a refusal for good is counted and not repeated."""
    loki = make_place()
    proxy = make_proxy(demo_app, logs={"loki": {"url": loki.url + "/custom/path?a=b", "access": True}})
    for _ in range(50):
        proxy.client.get("/")
    until(lambda: len(loki.entries()) >= 50, "all lines")
    assert loki.requests[0][0] == "/custom/path?a=b" and len(loki.requests) <= 10
    assert {json.loads(text)["event"] for _, _, text, _ in loki.entries()} == {"request"}
    seen = len(loki.requests)
    loki.answers = [400]
    proxy.client.get("/pid")
    until(lambda: "Loki refused 1 lines with status 400, they are lost: no thanks" in proxy.log(), "the refusal to be said")
    proxy.client.get("/")
    until(lambda: len(loki.requests) >= seen + 2, "the next batch")
    assert [json.loads(text)["url_path"] for _, _, text, _ in loki.entries()].count("/pid") == 1


def test_what_waits_is_sent_at_the_end(demo_app, make_proxy, make_place):
    """TERM: lines that wait for their batch are sent before the process ends."""
    loki = make_place()
    proxy = make_proxy(demo_app, logs={"loki": {"url": loki.url, "access": True}})
    proxy.client.get("/")
    proxy.signal(signal.SIGTERM)
    proxy.wait()
    assert [json.loads(text)["url_path"] for _, _, text, _ in loki.entries()] == ["/"]


def certificate(folder):
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                           "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], capture_output=True)
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return context


def test_tls_and_a_token_in_a_file(demo_app, make_proxy, make_place, folder):
    """https with a private authority, a token in a file that only root may read; without the authority nothing is sent and it is said."""
    loki = make_place(context=certificate(folder))
    token = f"{folder}/token"
    with open(token, "w", encoding="ascii") as file:
        file.write("s3cret\n")
    subprocess.run(["chmod", "600", token], check=True)
    proxy = make_proxy(demo_app, logs={"loki": {"url": loki.url, "password_file": token, "ca_file": f"{folder}/cert.pem", "access": True}})
    proxy.client.get("/")
    until(loki.entries, "a line")
    assert loki.requests[0][1]["Authorization"] == "Bearer s3cret"
    distrusting = make_proxy(demo_app, name="distrusting", logs={"loki": {"url": loki.url, "access": True}})
    before = len(loki.requests)
    distrusting.client.get("/")
    until(lambda: "certificate" in distrusting.log(), "the distrust to be said")
    assert len(loki.requests) == before


def pprof(packed):
    """(samples as [(stack leaf first, count, ns, labels)], time_nanos, types)."""
    parts = {}
    for number, value in fields(gzip.decompress(packed)):
        parts.setdefault(number, []).append(value)
    texts = [text.decode() for text in parts[6]]
    names = {f[1]: texts[f[2]] for f in map(dict, map(fields, parts[5]))}
    places = {loc[1]: names[dict(fields(loc[4]))[1]] for loc in map(dict, map(fields, parts[4]))}
    samples = []
    for sample in parts[2]:
        labels, stack, values = {}, [], []
        for number, value in fields(sample):
            if number == 3:
                label = dict(fields(value))
                labels[texts[label[1]]] = texts[label[2]]
            elif number == 1:
                stack = [places[i] for i in unpacked(value)]
            else:
                values = unpacked(value)
        samples.append((stack, *values, labels))
    return samples, parts[9][0], [[texts[v] for _, v in fields(t)] for t in parts[1] + parts[11]]


def test_profiles_reach_pyroscope(demo_app, make_proxy, make_place):
    """Each slow request's profile arrives as a series of its own: type wall, its service and route, each sample with the ids of
    the line; no two have the same instant."""
    pyroscope = make_place(status=200)
    proxy = make_proxy(demo_app, service="web", capture={"directory": "", "pyroscope": {"url": pyroscope.url + "/", "labels": ["env=prod"]}},
                       routes={"templates": ["/items/{id}"]})
    def seen():
        """The lines of requests whose worker was looked at while they ran."""
        return {line["span_id"]: line for line in proxy.slow_lines() if line["samples"]}

    def series():
        return [one for _, _, body in pyroscope.requests for one in body["series"]]

    asked = 0
    while len(seen()) < 3 and asked < 15:  # on a busy machine a look may come too late
        clients = [threading.Thread(target=proxy.client.get, args=(f"/items/{i}?seconds=0.4",)) for i in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        asked += len(clients)
        until(lambda: len(proxy.slow_lines()) == asked, "a line for each request")
    lines = seen()
    until(lambda: len(series()) >= len(lines) >= 3, "a profile for each line")
    profiles = len(series())
    assert pyroscope.requests[0][0] == "/push.v1.PusherService/Push"
    instants = set()
    for one in series():
        labels = {label["name"]: label["value"] for label in one["labels"]}
        samples, instant, types = pprof(base64.b64decode(one["samples"][0]["rawProfile"], validate=True))
        instants.add(instant)
        assert types == [["samples", "count"], ["wall", "nanoseconds"], ["wall", "nanoseconds"]]
        span, = {labels["span_id"] for *_, labels in samples}
        line = lines.pop(span)
        assert {labels["trace_id"] for *_, labels in samples} == {line["trace_id"]}
        assert labels == {"__name__": "wall", "service_name": "web", "env": "prod", "http_route": "/items/{id}", "cause": line["cause"]}
        assert sum(ns for stack, _, ns, _ in samples if "wait_for_row_lock" in stack) > 0.1e9
    assert len(instants) == profiles and not lines


# --- bad days -------------------------------------------------------------------------------------------------------------


def seconds_of(client, count):
    """How long each of `count` requests takes, over one connection; a request that fails raises."""
    taken = []
    with client.keep_alive() as exchange:
        for _ in range(count):
            response = exchange("GET", "/")
            assert response.status == 200
            taken.append(response.seconds)
    return sorted(taken)


def p99(taken):
    return taken[int(len(taken) * 0.99)]


@pytest.mark.parametrize("how", ["gone", "silent", "failing"])
def test_requests_do_not_feel_a_bad_loki(how, demo_app, make_proxy, make_place):
    """Loki gone, silent or answering 500: requests are as fast as before, memory has its bound, the oldest lines are dropped and
    counted, and when Loki is back it gets the newest without anybody's help."""
    loki = make_place()
    proxy = make_proxy(demo_app, logs={"loki": {"url": loki.url, "access": True, "queue_bytes": "64KiB"}})
    well = seconds_of(proxy.client, 400)
    until(lambda: len(loki.entries()) >= 40, "lines while all is well")
    pid = proxy.role("proxy")
    if how == "gone":
        loki.close()
    elif how == "silent":
        loki.hold.clear()
    else:
        loki.status = 500
    before = len(loki.entries())
    seconds_of(proxy.client, 200)
    memory = objects.rss_bytes(pid)
    badly = seconds_of(proxy.client, 1500)
    grown = objects.rss_bytes(pid) - memory
    print(f"{how}: p99 {1e3 * p99(well):.1f} ms before, {1e3 * p99(badly):.1f} ms while, memory grew by {grown >> 10} KiB")
    assert p99(badly) < 3 * p99(well) + 0.05
    if not SANITIZED:
        assert grown < 2 << 20
    if how == "gone":
        back = make_place(port=loki.port)
    else:
        back, loki.status = loki, 204
        loki.hold.set()
    with proxy.client.keep_alive() as exchange:
        exchange("GET", "/pid")
    until(lambda: any('"/pid"' in text for _, _, text, _ in back.entries()[0 if how == "gone" else before:]), "the newest line", 45)
    if how != "silent":  # one slow answer is no failure
        said = until(lambda: re.search(r"Loki takes lines again after [0-9.]+ s; (\d+) lines were dropped", proxy.log()), "the recovery")
        assert int(said[1]) > 1000
    arrived = len([1 for _, _, text, _ in back.entries() if '"url_path":"/"' in text])
    assert arrived < 1900, "nothing was dropped: the bound did not hold"
    assert proxy.role("proxy") == pid


def test_requests_do_not_feel_a_bad_pyroscope(demo_app, make_proxy, make_place):
    """Pyroscope is gone while hundreds of requests are slow: each is answered and has its line, the oldest profiles are dropped,
    and the newest arrives when Pyroscope is back."""
    pyroscope = make_place(status=200)
    pyroscope.close()
    proxy = make_proxy(demo_app, slow={"threshold": "10ms"},
                       capture={"arm_after": "0s", "directory": "", "pyroscope": {"url": pyroscope.url, "queue_bytes": "64KiB"}})

    def ask():
        with proxy.client.keep_alive() as exchange:
            for _ in range(40):
                assert exchange("GET", "/await?seconds=0.02").status == 200

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    until(lambda: len(proxy.slow_lines()) == 160, "a line for each request")
    back = make_place(status=200, port=pyroscope.port)
    proxy.client.get("/blocking?seconds=0.1")
    span = proxy.slow_line("/blocking")["span_id"]

    def arrived():
        samples = (pprof(base64.b64decode(one["samples"][0]["rawProfile"]))[0] for _, _, body in back.requests for one in body["series"])
        return [labels["span_id"] for one in samples for *_, labels in one[:1]]

    until(lambda: span in arrived(), "the newest profile", 45)
    said = until(lambda: re.search(r"Pyroscope takes profiles again after [0-9.]+ s; (\d+) profiles were dropped", proxy.log()), "the recovery")
    assert int(said[1]) > 20 and len(arrived()) + int(said[1]) <= 161, (said[0], len(arrived()))


@pytest.fixture
def small_disk(folder):
    """A file system of 1 MiB."""
    path = os.path.join(folder, "disk")
    os.mkdir(path)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode != 0:
        print("SKIPPED: no file system can be mounted here:", mounted.stderr)
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_requests_do_not_feel_a_full_disk(demo_app, make_proxy, small_disk):
    """The disk of slow lines, access lines and profiles is full: every request is answered, what is lost is said and counted, and
    with room again lines and profiles come again."""
    filler = os.path.join(small_disk, "filler")
    proxy = make_proxy(demo_app, capture={"directory": f"{small_disk}/profiles"},
                       logs={"slow": f"{small_disk}/slow.log", "access": f"{small_disk}/access.log"})

    def lines(name):
        with open(f"{small_disk}/{name}.log", "rb") as file:
            return [json.loads(line) for line in file.read().split(b"\n") if line.endswith(b"}") and line.startswith(b"{")]

    proxy.client.get("/blocking?seconds=0.4")
    until(lambda: lines("slow"), "a slow line on the disk")
    well = seconds_of(proxy.client, 300)
    with open(filler, "wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    badly = seconds_of(proxy.client, 300)
    proxy.client.get("/blocking?seconds=0.4")
    until(lambda: "No space left on device" in proxy.log(), "the full disk to be said")
    print(f"full disk: p99 {1e3 * p99(well):.1f} ms before, {1e3 * p99(badly):.1f} ms while")
    assert p99(badly) < 3 * p99(well) + 0.05
    os.unlink(filler)
    slow = len(lines("slow"))
    proxy.client.get("/blocking?seconds=0.4")
    until(lambda: len(lines("slow")) > slow and "profile_file" in lines("slow")[-1], "a slow line and its profile after room was made")
    assert os.path.exists(lines("slow")[-1]["profile_file"])
