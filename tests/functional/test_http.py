"""The proxy as HTTP sees it: framing, reuse, bodies both ways, errors that say why."""
import hashlib
import http.client
import re
import shutil
import signal
import socket
import threading
import time

import httpx
import pytest

from objects import (PATIENCE, SANITIZED, Client, Process, answer, free_port, keep_answering, peak_rss_bytes, rss_bytes, until)

MEGABYTE = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.core
def test_response_time_header_agrees_with_the_clients_clock(proxy):
    """X-Response-Time is in seconds with three decimals, and is what the client measured, less its own way there and back."""
    for seconds in (0, 0.25):
        response = proxy.client.get(f"/await?seconds={seconds}")
        assert re.fullmatch(r"\d+\.\d{3}", response.headers["X-Response-Time"])
        assert response.headers.get_all("X-Response-Time") == [response.headers["X-Response-Time"]]
        assert seconds - 0.001 <= response.response_time <= response.seconds + 0.001
        assert response.seconds - response.response_time < (0.5 if SANITIZED else 0.1)


@pytest.mark.core
def test_request_id_and_forwarded_headers_reach_the_backend(proxy):
    """The backend sees X-Request-ID, X-Forwarded-* and traceparent; the client gets its own request id back."""
    response = proxy.client.get("/headers", headers={"X-Request-ID": "from-the-client-1", "Host": "shop.example"})
    seen = dict(response.json()["headers"])
    assert seen["x-request-id"] == "from-the-client-1" == response.headers["X-Request-ID"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == "shop.example" == seen["host"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", seen["traceparent"])


@pytest.mark.core
def test_made_up_request_ids_differ(proxy):
    """Without one from the client each request gets a new UUID4 in hex."""
    ids = [proxy.client.get("/").headers["X-Request-ID"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in ids)


def test_traceparent_is_continued_with_a_span_of_our_own(proxy):
    """The client's trace goes on; the span id in it is the proxy's, new for each request."""
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    spans = set()
    for _ in range(2):
        seen = dict(proxy.client.get("/headers", headers={"traceparent": sent}).json()["headers"])["traceparent"].split("-")
        assert seen[1] == "0af7651916cd43dd8448eb211c80319c" and seen[2] != "b7ad6b7169203331"
        spans.add(seen[2])
    assert len(spans) == 2


@pytest.mark.core
def test_header_bytes_pass_unchanged(scripted, make_proxy):
    """Case, order and duplicates of headers pass byte for byte both ways, and so does the raw path."""
    seen = []

    def script(connection):
        seen.append(connection.read_head())
        connection.send(b"HTTP/1.1 200 Quite Fine\r\nsErVeR: odd\r\nX-b: 2\r\nX-A: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                        b"Content-Length: 2\r\nConnection: close\r\n\r\nok")

    proxy = make_proxy(scripted(script))
    reply = proxy.client.exchange_raw(b"GET /%7Ea//b/../c?x=%20 HTTP/1.1\r\nHOST: t\r\nx-ODD-Case: V\r\nAccept: b\r\nAccept: a\r\n"
                                      b"Connection: close\r\n\r\n")
    request = seen[0].split(b"\r\n")
    assert request[0] == b"GET /%7Ea//b/../c?x=%20 HTTP/1.1"
    ours = [line for line in request if line in (b"HOST: t", b"x-ODD-Case: V", b"Accept: b", b"Accept: a")]
    assert ours == [b"HOST: t", b"x-ODD-Case: V", b"Accept: b", b"Accept: a"]
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 Quite Fine" and body == b"ok"
    theirs = [line for line in lines if line.split(b":")[0] in (b"sErVeR", b"X-b", b"X-A", b"Set-Cookie")]
    assert theirs == [b"sErVeR: odd", b"X-b: 2", b"X-A: 1", b"Set-Cookie: a=1", b"Set-Cookie: b=2"]


@pytest.mark.core
def test_connections_are_reused_on_both_sides(scripted, make_proxy):
    """Many requests on one client connection take one upstream connection."""
    backend = scripted(keep_answering())
    proxy = make_proxy(backend, capture={"enabled": False})
    with proxy.client.keep_alive() as exchange:
        for _ in range(50):
            assert exchange("GET", "/").status == 200
    assert len(backend.connections) == 1


@pytest.mark.core
def test_pipelined_requests_are_answered_in_order(proxy):
    """Requests sent without waiting for answers are answered one after the other, in their order."""
    many = b"".join(b"GET /items/%d HTTP/1.1\r\nHost: t\r\n%s\r\n" % (n, b"Connection: close\r\n" if n == 9 else b"")
                    for n in range(10))
    reply = proxy.client.exchange_raw(many)
    assert [int(n) for n in re.findall(rb'"item_id":(\d+)', reply)] == list(range(10))


@pytest.mark.core
def test_unix_socket_upstream(make_uvicorn, make_proxy):
    """upstream: unix:/path works like TCP."""
    proxy = make_proxy(make_uvicorn(uds=True))
    assert proxy.client.get("/items/7").json()["item_id"] == 7
    assert proxy.client.post("/echo", b"x" * MEGABYTE).body == b"x" * MEGABYTE


def test_unix_socket_listener(demo_app, make_proxy, folder):
    """listen: unix:/path serves clients on a unix socket."""
    path = f"{folder}/listen.sock"
    proxy = make_proxy(demo_app, listen=f"unix:{path}")
    assert Client(f"unix:{path}").get("/").status == 200
    assert proxy.running()


@pytest.mark.parametrize("http_impl", ["h11", "httptools"])
def test_both_http_implementations_of_uvicorn(http_impl, make_uvicorn, make_proxy):
    """Uvicorn's h11 and httptools both work behind the proxy: plain, chunked and with a body."""
    proxy = make_proxy(make_uvicorn(http_impl=http_impl))
    with proxy.client.keep_alive() as exchange:
        assert exchange("GET", "/").json() == {"hello": "world"}
        assert exchange("POST", "/echo", body=b"abc" * 50000).body == b"abc" * 50000
        assert len(exchange("GET", "/download?size=300000").body) == 300000
        assert exchange("GET", "/items/1").json()["item_id"] == 1


H2C_OFFER = (b"POST /echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: t\r\n"
             b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17.0.9\r\n\r\nhello")


def test_offers_of_http2_just_work(make_uvicorn, make_proxy, folder):
    """curl --http2 and the JDK's client offer h2c with each first request, which httptools answers with 400 or an empty body: here not."""
    proxy = make_proxy(make_uvicorn(http_impl="httptools"))
    run = Process("curl", ["curl", "-sS", "--http2", "-d", "from curl", f"http://{proxy.listen}/echo", f"http://{proxy.listen}/echo"], folder)
    assert run.wait() == 0, run.errors()
    assert run.output() == "from curl" * 2
    connection = proxy.client.raw()
    for _ in range(2):  # as the JDK's client (java.net.http) writes it
        connection.send(H2C_OFFER)
        assert connection.read_head().startswith(b"HTTP/1.1 200 OK")
        assert connection.read_exactly(5) == b"hello"


def test_gunicorn_sync(make_gunicorn, make_proxy):
    """Gunicorn's sync workers, which close each connection, work behind the proxy."""
    proxy = make_proxy(make_gunicorn(workers=2))
    with proxy.client.keep_alive() as exchange:
        assert all(exchange("GET", "/").status == 200 for _ in range(20))


def test_gunicorn_with_uvicorn_workers(make_gunicorn, make_proxy):
    """gunicorn -k uvicorn.workers.UvicornWorker works behind the proxy."""
    from objects import DEMO
    proxy = make_proxy(make_gunicorn(workers=2, worker_class="uvicorn.workers.UvicornWorker", app="app:app", app_dir=DEMO))
    with proxy.client.keep_alive() as exchange:
        assert all(exchange("GET", "/").json() == {"hello": "world"} for _ in range(20))


# --- bodies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 3 * MEGABYTE])
def test_bodies_come_back_as_they_went(proxy, size):
    """A body of any size goes to the app and back unchanged, with a length and chunked."""
    body = bytes(i * 7 % 251 for i in range(min(size, 4096))) * (size // 4096 + 1)
    body = body[:size]
    assert proxy.client.post("/echo", body).body == body
    pieces = [body[i:i + 50000] for i in range(0, size, 50000)]
    assert proxy.client.post("/echo", iter(pieces)).body == body  # http.client: an iterator goes chunked


@pytest.mark.core
def test_httpx_and_a_streamed_upload(proxy):
    """httpx, streaming an upload in chunks, is served."""
    with httpx.Client(base_url=f"http://{proxy.listen}", timeout=PATIENCE) as client:
        reply = client.post("/upload", content=(b"y" * 10000 for _ in range(100)))
        assert reply.json() == {"bytes": 1_000_000}
        assert client.get("/items/3").json()["item_id"] == 3


def test_curl(proxy, folder):
    """curl gets its answer, with Expect: 100-continue before a large upload."""
    data = f"{folder}/upload"
    with open(data, "wb") as file:
        file.write(b"z" * (2 * MEGABYTE))
    run = Process("curl", ["curl", "-sS", "-H", "Expect: 100-continue", "--data-binary", f"@{data}",
                           f"http://{proxy.listen}/upload"], folder)
    assert run.wait() == 0, run.errors()
    assert run.output() == '{"bytes":%d}' % (2 * MEGABYTE)


def test_large_upload_and_download_with_bounded_memory(proxy):
    """100 MB up and 100 MB down leave the proxy's memory where it was: bodies stream, they do not pile up."""
    size = 100 * MEGABYTE
    pid = proxy.role("proxy")
    proxy.client.get("/")
    before = rss_bytes(pid)
    block = b"u" * MEGABYTE
    reply = proxy.client.post("/upload", (block for _ in range(size // MEGABYTE)), headers={"Content-Length": str(size)})
    assert reply.json() == {"bytes": size}
    connection = proxy.client.raw()
    connection.send(b"GET /download?size=%d&block=1048576 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % size)
    connection.read_head()
    received = 0
    while chunk := connection.socket.recv(MEGABYTE):
        received += len(chunk)
    assert received >= size
    assert peak_rss_bytes(pid) - before < (256 if SANITIZED else 8) * MEGABYTE


def test_a_slow_reader_is_not_buffered_for(proxy):
    """A client that does not read a 200 MB answer costs a bounded amount of memory; the rest waits in the backend."""
    pid = proxy.role("proxy")
    proxy.client.get("/")
    before = rss_bytes(pid)
    connection = proxy.client.raw()
    connection.send(b"GET /download?size=200000000&block=1048576 HTTP/1.1\r\nHost: t\r\n\r\n")
    connection.read_head()
    # The proxy answers others meanwhile, and stands still at its bound.
    for _ in range(20):
        assert proxy.client.get("/").status == 200
    assert rss_bytes(pid) - before < (256 if SANITIZED else 8) * MEGABYTE
    connection.close()


def test_server_sent_events_arrive_one_by_one(proxy):
    """Each event reaches the client when the app sends it, not when the stream ends."""
    connection = proxy.client.raw()
    connection.send(b"GET /events?count=4&interval=0.3 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    connection.read_head()
    times = []
    for number in range(4):
        connection.read_until(b"data: %d\n\n" % number)
        times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert min(gaps) > 0.15, gaps


@pytest.mark.core
def test_answers_without_a_body(proxy):
    """HEAD, 204 and 304 end with their head, and the connection can be used again."""
    with proxy.client.keep_alive() as exchange:
        for method, path, status in (("HEAD", "/status/200", 200), ("GET", "/status/204", 204), ("GET", "/status/304", 304),
                                     ("GET", "/items/5", 200)):
            response = exchange(method, path)
            assert response.status == status
            assert (response.body != b"") == (path == "/items/5")
            assert "X-Response-Time" in response.headers


@pytest.mark.core
def test_head_keeps_the_content_length_it_would_have(scripted, make_proxy):
    """The Content-Length of an answer to HEAD passes, and no body is awaited."""
    proxy = make_proxy(scripted(keep_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")))
    with proxy.client.keep_alive() as exchange:
        for _ in range(2):
            response = exchange("HEAD", "/")
            assert (response.status, response.headers["Content-Length"], response.body) == (200, "12345", b"")


@pytest.mark.core
def test_chunked_answer_with_odd_chunks(scripted, make_proxy):
    """Chunks of any size, split anywhere, reach the client as the same body."""
    body = bytes(range(256)) * 40

    def script(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        at = 0
        for size in (1, 2, 3, 5, 1000, 4096, len(body)):
            piece = body[at:at + size]
            at += len(piece)
            if piece:
                wire = b"%x\r\n%s\r\n" % (len(piece), piece)
                connection.send(wire[:3])
                connection.send(wire[3:])
        connection.send(b"0\r\n\r\n")
        connection.read_head()

    proxy = make_proxy(scripted(script))
    assert proxy.client.get("/").body == body


def test_http10_client_gets_an_unchunked_answer(proxy):
    """A client of HTTP/1.0 gets a chunked answer unchunked, ended by close."""
    reply = proxy.client.exchange_raw(b"GET /download?size=1000 HTTP/1.0\r\nHost: t\r\n\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower() and len(body) == 1000


def test_early_answer_during_an_upload(scripted, make_proxy):
    """A backend that answers 413 before the body is read: the client gets that answer."""
    def script(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        connection.read_to_end()

    proxy = make_proxy(scripted(script))
    connection = proxy.client.raw()
    connection.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 100000)
    assert connection.read_head().startswith(b"HTTP/1.1 413 Too Much")
    assert connection.read_exactly(2) == b"no"


# --- errors of the proxy's own --------------------------------------------------------------------------------------------


def check_error(response, status, *words):
    assert response.status == status
    assert re.fullmatch(r"\d+\.\d{3}", response.headers["X-Response-Time"])
    assert response.headers["X-Request-ID"]
    text = response.body.decode()
    assert response.headers["Content-Type"].startswith("application/json") and response.json()
    for word in words:
        assert word in text, text


@pytest.mark.core
def test_502_when_nobody_listens(make_proxy):
    """A backend that is not there gives 502 with a body that says so, and the header all the same."""
    proxy = make_proxy(f"127.0.0.1:{free_port()}")
    check_error(proxy.client.get("/"), 502, "upstream_refused")


@pytest.mark.core
def test_502_when_the_backend_closes_without_answering(scripted, make_proxy):
    """A backend that closes before its answer gives 502 upstream_reset."""
    proxy = make_proxy(scripted(lambda connection: connection.read_head()))
    check_error(proxy.client.post("/", b"x"), 502, "upstream_reset")


@pytest.mark.core
def test_502_when_the_backend_does_not_speak_http(scripted, make_proxy):
    """A backend that answers rubbish gives 502 upstream_invalid."""
    def script(connection):
        connection.read_head()
        connection.send(b"220 mail.example ESMTP\r\n\r\n")
        connection.read_to_end()

    proxy = make_proxy(scripted(script))
    check_error(proxy.client.get("/"), 502, "upstream_invalid")


@pytest.mark.core
def test_504_when_the_backend_does_not_answer_in_time(scripted, make_proxy):
    """timeouts.response gives 504, and the backend's connection is closed."""
    backend = scripted(lambda connection: (connection.read_head(), connection.read_to_end()))
    proxy = make_proxy(backend, timeouts={"response": "300ms"})
    response = proxy.client.get("/")
    check_error(response, 504, "timeout_response")
    assert 0.29 <= response.response_time < 3
    until(lambda: backend.connections[0].closed.is_set(), "the backend's connection to be closed")


def test_503_when_too_many_clients(scripted, make_proxy):
    """Above limits.connections a client is told 503 or refused, and those inside are served on."""
    proxy = make_proxy(scripted(keep_answering()), limits={"connections": 8}, capture={"enabled": False})
    inside = []
    for _ in range(8):
        connection = proxy.client.raw()
        connection.send(GET)
        connection.read_head()
        inside.append(connection)
    extra = proxy.client.raw()
    extra.socket.settimeout(1)
    try:
        extra.send(GET)
        told = extra.socket.recv(1000)
        assert told == b"" or told.startswith(b"HTTP/1.1 503 ")
    except OSError:
        pass  # left in the backlog, or refused
    for connection in inside:
        connection.left = b""
        connection.send(GET)
        assert connection.read_head().startswith(b"HTTP/1.1 200")


@pytest.mark.core
@pytest.mark.parametrize("request_bytes, status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n", 400),
], ids=["no-host", "two-hosts", "blank-before-colon", "fold", "both-framings", "two-lengths", "huge-head", "http2", "tls"])
def test_what_is_not_http_never_reaches_the_backend(scripted, make_proxy, request_bytes, status):
    """A malformed or ambiguous request is refused with the status that says why, and the backend never hears of it."""
    backend = scripted(keep_answering())
    proxy = make_proxy(backend)
    reply = proxy.client.exchange_raw(request_bytes)
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]
    assert b"\r\nX-Response-Time: " in reply
    assert not backend.connections


# --- things that go wrong midway ------------------------------------------------------------------------------------------


@pytest.mark.core
def test_truncated_answer_is_not_made_whole(scripted, make_proxy):
    """A backend that closes mid-body gives the client a closed connection, never a body that looks complete."""
    def script(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    proxy = make_proxy(scripted(script))
    with pytest.raises(http.client.IncompleteRead):
        proxy.client.get("/")


def test_truncated_chunked_answer_has_no_last_chunk(scripted, make_proxy):
    """The same for a chunked answer: the client never sees the chunk that says it is whole."""
    def script(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    proxy = make_proxy(scripted(script))
    with pytest.raises(http.client.IncompleteRead):
        proxy.client.get("/")


@pytest.mark.core
def test_client_abort_reaches_the_backend(scripted, make_proxy):
    """A client that leaves while its request is being worked on: the backend's connection is closed at once."""
    asked = threading.Event()
    left = threading.Event()

    def script(connection):
        connection.read_head()
        asked.set()
        try:
            connection.read_to_end()
        finally:
            left.set()

    proxy = make_proxy(scripted(script))
    connection = proxy.client.raw()
    connection.send(GET)
    assert asked.wait(PATIENCE)
    connection.close()
    assert left.wait(PATIENCE)


def test_client_abort_reaches_fastapi(proxy):
    """request.is_disconnected() of a FastAPI app becomes true when the client of the proxy leaves."""
    connection = proxy.client.raw()
    connection.send(b"GET /until-disconnect HTTP/1.1\r\nHost: t\r\n\r\n")
    connection.socket.settimeout(0.3)
    with pytest.raises(socket.timeout):
        connection.socket.recv(1)
    connection.close()
    until(lambda: proxy.client.get("/was-disconnected").json()["disconnected"], "the app to notice")


@pytest.mark.core
def test_idle_upstream_connections_closed_by_the_backend_are_not_used(scripted, make_proxy):
    """A backend that closes its kept-alive connection between two requests costs the client nothing, POST included."""
    def script(connection):
        while True:
            head = connection.read_head()
            if b"Content-Length: 1" in head:
                connection.read_exactly(1)
            connection.send(answer())
            connection.close()  # without having said so

    backend = scripted(script)
    proxy = make_proxy(backend)
    for _ in range(10):
        assert proxy.client.get("/").status == 200
        until(lambda: all(c.closed.is_set() for c in backend.connections), "the backend to close")
        assert proxy.client.post("/", b"x").status == 200
        until(lambda: all(c.closed.is_set() for c in backend.connections), "the backend to close")


def test_backend_restarted(make_proxy, folder):
    """While the backend is away requests get 502; when it is back they get 200, on the same client connection."""
    from objects import stdlib_python, PYTHON
    backend = stdlib_python(folder, PYTHON)
    proxy = make_proxy(backend)
    port = backend.address.rpartition(":")[2]
    with proxy.client.keep_alive() as exchange:
        assert exchange("GET", "/").status == 200
        backend.signal(signal.SIGKILL)
        backend.wait()
        assert exchange("GET", "/").status == 502
        again = Process("again", [PYTHON, backend.popen.args[1], port], folder)
        until(lambda: exchange("GET", "/").status == 200, "the proxy to find the new backend")
        assert again.running()


def test_wrk_sees_no_error(scripted, make_proxy, make_uvicorn, folder):
    """Four seconds of wrk on 32 connections: no socket error and no status but 200."""
    from objects import Load
    assert shutil.which("wrk")
    proxy = make_proxy(make_uvicorn())
    counted = Load(proxy.listen, folder, seconds=4, connections=32).finish()
    assert counted["requests"] > 100 and counted["bad_status"] == 0 and counted["socket_errors"] == 0, counted["text"]
