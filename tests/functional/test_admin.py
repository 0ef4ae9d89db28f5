"""The admin listener: health, what is slow and what runs, profiles in every form; and that it harms nobody."""
import contextlib
import gzip
import http.client
import json
import marshal
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from objects import BINARY, Client, Process, free_port, until

pytestmark = pytest.mark.core


@pytest.fixture
def admin_proxy(demo_app, make_proxy):
    """A proxy with an admin listener, and a client of that."""
    address = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(demo_app, admin={"listen": address})
    proxy.admin_address = address
    proxy.admin = Client(address)
    until(lambda: ready(proxy.admin) == 200, "the proxy to be ready")
    return proxy


def ready(admin):
    """The status of /readyz; None: nobody answers."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return admin.get("/readyz").status
    return None


def in_background(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


def healthcheck(*arguments):
    return subprocess.run([str(BINARY), "healthcheck", *arguments], capture_output=True, text=True, timeout=20)


def test_a_slow_request_is_listed_and_its_profile_served_in_every_form(admin_proxy):
    """The line in /api/slow is the line on stdout; its profile_url leads to the flame graph, and ?format= to each other form."""
    admin_proxy.client.get("/blocking?seconds=0.5")
    line = admin_proxy.slow_line("/blocking")
    listed = until(lambda: json.loads(admin_proxy.admin.get("/api/slow").body), "the list")
    assert listed[0] == line
    assert line["profile_url"] == f"http://{admin_proxy.admin_address}/profiles/{line['profile_id']}"
    path = f"/profiles/{line['profile_id']}"

    def form(name):
        answer = admin_proxy.admin.get(f"{path}?format={name}")
        assert answer.status == 200, (name, answer.body)
        return answer.body

    def check_all():
        page = admin_proxy.admin.get(path)
        assert page.headers["Content-Type"].startswith("text/html") and b"call_legacy_service" in page.body
        assert b"call_legacy_service" in form("collapsed") and b"<svg" in form("svg")
        assert json.loads(form("speedscope"))["$schema"].startswith("https://www.speedscope.app")
        assert b"call_legacy_service" in gzip.decompress(form("pprof"))
        assert any(name == "call_legacy_service" for _, _, name in marshal.loads(form("pstats")))
        rows = json.loads(form("grafana"))
        assert rows[0]["level"] == 0 and set(rows[0]) == {"level", "value", "self", "label"}
        assert all(after["level"] <= before["level"] + 1 for before, after in zip(rows, rows[1:])), "depth first"
        assert sum(row["self"] for row in rows) == rows[0]["value"]
        assert 300e6 < rows[0]["value"] < 700e6, "times are in ns"

    def order_of_time():
        return [(profile["name"], profile["samples"]) for profile in json.loads(form("speedscope"))["profiles"]]

    check_all()
    before = order_of_time()
    assert admin_proxy.admin.get(f"{path}?format=xls").status == 400
    assert admin_proxy.admin.get("/profiles/" + "0" * 32).status == 404
    assert admin_proxy.admin.get("/profiles/..%2f..%2fetc%2fpasswd").status == 404
    os.kill(admin_proxy.main_pid(), signal.SIGHUP)  # a new process knows only the files
    until(lambda: json.loads(admin_proxy.admin.get("/api/slow").body) == [], "the new process")
    check_all()
    assert order_of_time() == before


def test_what_runs_is_shown_while_it_runs(admin_proxy):
    """/api/inflight tells of a request that is under way, and no more of it when it is over."""
    request = in_background(admin_proxy.client.get, "/await?seconds=1.2")
    shown = until(lambda: json.loads(admin_proxy.admin.get("/api/inflight").body), "the request to be shown")
    assert shown[0]["url_path"] == "/await" and shown[0]["http_request_method"] == "GET" and shown[0]["duration_ms"] >= 0
    assert shown[0]["http_route"] == "/await"
    until(lambda: [r["phase"] for r in json.loads(admin_proxy.admin.get("/api/inflight").body)] == ["app"], "its phase")
    assert json.loads(admin_proxy.admin.get("/api/status").body)["active_requests"] == 1
    request.join()
    assert json.loads(admin_proxy.admin.get("/api/inflight").body) == []


def test_the_configuration_is_shown_with_its_origins(admin_proxy):
    config = json.loads(admin_proxy.admin.get("/api/config").body)
    assert config["slow.threshold"]["value"] == "300ms" and config["slow.threshold"]["origin"].startswith(str(admin_proxy.config_path))
    assert config["workers"] == {"value": "1", "origin": "default"}


def test_readiness_fails_first_when_it_ends(demo_app, make_proxy):
    """TERM: /readyz says 503 while new connections are still served for timeouts.drain_delay; then all ends with status 0."""
    address = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(demo_app, admin={"listen": address}, timeouts={"drain_delay": "1500ms"})
    admin = Client(address)
    until(lambda: ready(admin) == 200, "the proxy to be ready")
    assert healthcheck("-c", str(proxy.config_path)).returncode == 0
    os.kill(proxy.main_pid(), signal.SIGTERM)
    until(lambda: ready(admin) == 503, "the readiness to fail")
    assert proxy.client.get("/").status == 200, "new connections are served meanwhile"
    assert admin.get("/healthz").status == 200
    answer = healthcheck("-c", str(proxy.config_path))
    assert answer.returncode == 1 and "draining" in answer.stderr
    assert proxy.popen.wait(20) == 0
    answer = healthcheck("--admin.listen", address)
    assert answer.returncode == 1 and "nobody answers" in answer.stderr


def test_a_reload_hands_the_admin_listener_on(admin_proxy):
    """HUP: the address answers all the time, and the new process is the one that does."""
    failed, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            if ready(admin_proxy.admin) is None:
                failed.append(time.monotonic())

    asking = in_background(ask)
    admin_proxy.rewrite(service="renamed")
    os.kill(admin_proxy.main_pid(), signal.SIGHUP)
    until(lambda: json.loads(admin_proxy.admin.get("/api/status").body)["service_name"] == "renamed", "the new configuration")
    stop.set()
    asking.join()
    assert not failed


def test_a_failed_reload_is_in_the_metrics(admin_proxy):
    def says():
        return re.search(rb"^slowproxy_config_last_reload_successful (\d)", admin_proxy.admin.get("/metrics").body, re.M).group(1)

    assert says() == b"1"
    admin_proxy.config_path.write_text("upstream: [\n")
    os.kill(admin_proxy.main_pid(), signal.SIGHUP)
    until(lambda: says() == b"0", "the failure to be told")


def test_an_address_in_use_is_said(demo_app, folder):
    """An admin address that was asked for must be free; the default one only warns, for it may be another slowproxy's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        proxy = Process("asked", [BINARY, "--upstream", demo_app.address, "--listen", "127.0.0.1:0", "--admin.listen", address], folder)
        assert proxy.popen.wait(20) == 1
        assert "admin.listen" in proxy.errors() and address in proxy.errors()
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 9180))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        proxy = Process("default", [BINARY, "--upstream", demo_app.address, "--listen", "127.0.0.1:0", "--user", "root"], folder)
        until(lambda: "ready: forwarding" in proxy.errors(), "the proxy to serve without")
        assert "no pages, metrics and health checks" in proxy.errors()


def test_it_is_no_way_to_do_harm(admin_proxy):
    """Idle connections, endless heads, other methods and unknown paths neither stop the listener nor the traffic."""
    host, port = admin_proxy.admin_address.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(80)]
    try:
        for _ in range(20):
            assert admin_proxy.client.get("/").status == 200
    finally:
        for one in idle:
            one.close()
    until(lambda: ready(admin_proxy.admin) == 200, "the listener to answer again")
    with socket.create_connection((host, int(port)), 10) as hostile:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                hostile.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 65536)
    assert admin_proxy.admin.get("/nothing/here").status == 404
    for method in ("POST", "PUT", "DELETE"):
        assert admin_proxy.admin.request(method, "/api/slow", body=b"x").status >= 400
    assert ready(admin_proxy.admin) == 200 and admin_proxy.client.get("/").status == 200


def test_the_page_is_whole_in_itself(admin_proxy):
    """It names no other host, and its policy forbids to ask one."""
    page = admin_proxy.admin.get("/")
    assert page.headers["Content-Type"].startswith("text/html") and "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.findall(rb"(?:src|href)=[\"']?(?:https?:)?//", page.body)


def test_links_begin_with_the_address_people_use(demo_app, make_proxy):
    """admin.url: behind a proxy of their own, the address we listen on leads nobody anywhere."""
    proxy = make_proxy(demo_app, admin={"listen": f"127.0.0.1:{free_port()}", "url": "https://slow.example.org/"})
    proxy.client.get("/await?seconds=0.4")
    line = proxy.slow_line("/await")
    assert line["profile_url"] == f"https://slow.example.org/profiles/{line['profile_id']}"
