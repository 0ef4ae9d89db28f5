"""What happens to the traffic when a process of ours is harmed, stopped or ended."""
import os
import signal
import threading
import time

import pytest

from objects import PATIENCE, Load, Proxy, alive, answer, keep_answering, proc_stat, until


def check_no_request_failed(counted, at_least=100):
    assert counted["requests"] > at_least, counted["text"]
    assert counted["bad_status"] == 0 and counted["socket_errors"] == 0, counted["text"]


@pytest.mark.core
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=["KILL", "SEGV", "STOP"])
def test_sampler_harmed_under_load(demo_app, make_proxy, folder, number):
    """The sampler killed, crashed or stopped under load, with captures going on: no request fails, a new sampler takes over."""
    proxy = make_proxy(demo_app, slow={"threshold": "150ms"})
    proxy.expects_crash = number == signal.SIGSEGV
    sampler = proxy.role("sampler")
    proxy.client.get("/await?seconds=0.4")
    assert proxy.slow_line("/await")["samples"] > 0
    load = Load(proxy.listen, folder, "/await?seconds=0.2", seconds=8, connections=4)
    fast = Load(proxy.listen, folder, "/", seconds=8, connections=4, name="wrk-fast")
    until(lambda: len(proxy.slow_lines()) > 8, "captures to be under way")
    os.kill(sampler, number)
    new = until(lambda: proxy.role("sampler") not in (None, sampler) and proxy.role("sampler"), "a new sampler")
    check_no_request_failed(load.finish(), at_least=20)
    check_no_request_failed(fast.finish())
    until(lambda: not alive(sampler), "the old sampler to be gone")
    proxy.client.get("/blocking?seconds=0.8")
    line = proxy.slow_line("/blocking")
    assert line["samples"] > 0 and line["code_function_name"].split(".")[-1] == "call_legacy_service", line
    assert proxy.role("sampler") == new
    assert "sampler" in proxy.log()


@pytest.mark.core
def test_slow_lines_come_while_the_sampler_is_stopped(demo_app, make_proxy):
    """A sampler that does not answer: each slow line still comes, and does not claim what was not seen."""
    proxy = make_proxy(demo_app)
    sampler = proxy.role("sampler")
    os.kill(sampler, signal.SIGSTOP)
    response = proxy.client.get("/blocking?seconds=0.5")
    assert response.status == 200 and response.seconds < 3
    line = proxy.slow_line("/blocking")
    assert line["capture_status"] in ("no_sampler", "partial", "ok"), line
    if line["capture_status"] == "no_sampler":
        assert line["samples"] == 0 and "code_function_name" not in line


@pytest.mark.core
def test_killed_proxy_process_is_restarted(scripted, make_proxy):
    """The proxy process killed: the parent starts a new one on the same sockets, and it captures as before."""
    proxy = make_proxy(scripted(keep_answering()))
    old = proxy.role("proxy")
    os.kill(old, signal.SIGKILL)
    until(lambda: proxy.role("proxy") not in (None, old), "a new proxy process")
    assert proxy.client.get("/").status == 200
    assert proxy.running()


def test_killed_parent_takes_its_children_along(scripted, make_proxy):
    """The parent killed with -9: no process of ours stays behind."""
    proxy = make_proxy(scripted(keep_answering()))
    family = [pid for pid in (proxy.role("proxy"), proxy.role("sampler")) if pid]
    assert len(family) == 2
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    until(lambda: not any(alive(pid) for pid in family), "the children to end")


@pytest.mark.core
def test_term_drains(scripted, make_proxy):
    """TERM: the request that runs is answered, new connections are refused, then all processes end with status 0."""
    arrived, released = threading.Event(), threading.Event()

    def script(connection):
        connection.read_head()
        arrived.set()
        assert released.wait(PATIENCE)
        connection.send(answer())

    proxy = make_proxy(scripted(script), slow={"threshold": "1ms"}, timeouts={"drain": "20s"})
    family = [proxy.role("proxy"), proxy.role("sampler")]
    busy = proxy.client.raw()
    busy.send(b"GET /busy HTTP/1.1\r\nHost: t\r\n\r\n")
    assert arrived.wait(PATIENCE)
    proxy.signal(signal.SIGTERM)
    until(lambda: refuses(proxy), "new connections to be refused")
    assert alive(family[0])
    released.set()
    assert b"Connection: close\r\n" in busy.read_to_end()
    assert proxy.wait() == 0
    until(lambda: not any(alive(pid) for pid in family), "the children to end")
    assert [line["url_path"] for line in proxy.slow_lines()] == ["/busy"]
    busy.close()


@pytest.mark.core
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_term_resets_nobody(kind, scripted, make_proxy, folder):
    """TERM with connections that nobody has accepted yet: each is accepted, its request is answered, and then it is closed.

    Those that the loop takes before the signal reaches it are closed as ones at rest: no Connection: close announces it."""
    listen = {"listen": f"unix:{folder}/proxy.sock"} if kind == "unix" else {}
    proxy = make_proxy(scripted(keep_answering(), folder), timeouts={"drain": "20s"}, **listen)
    accepting = proxy.role("proxy")
    os.kill(accepting, signal.SIGSTOP)
    until(lambda: proc_stat(accepting)[0] == "T", "the proxy process to stop")
    waiting = [proxy.client.raw() for _ in range(50)]
    proxy.signal(signal.SIGTERM)
    for connection in waiting:
        connection.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    os.kill(accepting, signal.SIGCONT)
    for connection in waiting:
        reply = connection.read_to_end()
        assert reply.startswith(b"HTTP/1.1 200"), reply
        connection.close()
    assert proxy.wait() == 0


def test_drain_delay_serves_on_and_second_term_quits(scripted, make_proxy):
    """timeouts.drain_delay: after TERM new connections are still served, with Connection: close; a second TERM ends at once."""
    proxy = make_proxy(scripted(keep_answering()), timeouts={"drain_delay": "60s"})
    with proxy.client.keep_alive() as ask:
        assert ask("GET", "/").headers["Connection"] is None
        proxy.signal(signal.SIGTERM)
        until(lambda: "not ready any more" in proxy.log(), "the end to be announced")
        reply = until(lambda: (lambda r: r.headers["Connection"] == "close" and r)(proxy.client.get("/")), "Connection: close")
        assert reply.status == 200
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        proxy.wait()
        assert time.monotonic() - began < 5


def established(pid):
    """How many sockets the process holds."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except OSError:
            pass
    return count


def refuses(proxy):
    try:
        proxy.client.raw().close()
        return False
    except OSError:
        return True


@pytest.mark.core
def test_reload_under_load(demo_app, make_proxy, folder):
    """HUP under load: no request fails, the new threshold counts afterwards, the parent stays the same process."""
    proxy = make_proxy(demo_app, slow={"threshold": "10s"})
    load = Load(proxy.listen, folder, "/", seconds=4, connections=8)
    old = proxy.role("proxy")
    on_its_way = proxy.client.raw()
    on_its_way.send(b"GET /await?seconds=1 HTTP/1.1\r\nHost: t\r\n\r\n")
    until(lambda: established(old) >= 2, "the long request to be on its way")
    proxy.rewrite(slow={"threshold": "200ms"})
    proxy.signal(signal.SIGHUP)
    assert on_its_way.read_head().startswith(b"HTTP/1.1 200")
    until(lambda: not alive(old), "the old proxy process to end", 30)
    check_no_request_failed(load.finish())
    proxy.client.get("/blocking?seconds=0.6")
    line = proxy.slow_line("/blocking")
    assert line["threshold_ms"] == 200 and line["code_function_name"].split(".")[-1] == "call_legacy_service", line


def test_reload_of_a_wrong_configuration_changes_nothing(demo_app, make_proxy):
    """HUP with an error in the file: it is said with file, line and column, and the old configuration goes on."""
    proxy = make_proxy(demo_app)
    old = proxy.role("proxy")
    proxy.rewrite(capture={"rate": 50000})
    proxy.signal(signal.SIGHUP)
    until(lambda: "capture.rate: 50000" in proxy.log(), "the error to be said")
    assert proxy.config_path.name in proxy.log()
    proxy.client.get("/blocking?seconds=0.5")
    assert proxy.slow_line("/blocking")["threshold_ms"] == 300
    assert proxy.role("proxy") == old


def test_log_files_are_reopened(demo_app, make_proxy, folder):
    """USR1 after a rename: new lines go to a new file of the old name."""
    path = f"{folder}/logs"
    os.mkdir(path)
    os.chmod(path, 0o777)
    proxy = make_proxy(demo_app, logs={"slow": f"{path}/slow.log"})
    proxy.client.get("/await?seconds=0.4")
    until(lambda: os.path.exists(f"{path}/slow.log") and os.path.getsize(f"{path}/slow.log"), "the first line")
    os.rename(f"{path}/slow.log", f"{path}/slow.log.1")
    proxy.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(f"{path}/slow.log"), "the new file", seconds=3)
    proxy.client.get("/blocking?seconds=0.5")
    until(lambda: "/blocking" in open(f"{path}/slow.log").read(), "the second line in the new file")


def test_int_ends_at_once(demo_app, make_proxy):
    """INT: quick exit, though a request runs."""
    proxy = make_proxy(demo_app)
    connection = proxy.client.raw()
    connection.send(b"GET /await?seconds=8 HTTP/1.1\r\nHost: t\r\n\r\n")
    began = time.monotonic()
    proxy.signal(signal.SIGINT)
    proxy.wait()
    assert time.monotonic() - began < 5


def test_port_in_use_is_said(scripted, make_proxy, folder):
    """A port somebody else has: status not 0, and a sentence that names the address."""
    backend = scripted(keep_answering())
    proxy = make_proxy(backend)
    second = Proxy(folder, backend, name="second", listen=proxy.listen, wait=False)
    assert second.wait() != 0
    assert proxy.listen in second.log() and "in use" in second.log()
    assert proxy.client.get("/").status == 200


def test_unwritable_capture_directory(demo_app, make_proxy):
    """A capture directory that cannot be written: the line comes without a profile file, and a log line says why."""
    proxy = make_proxy(demo_app, capture={"directory": "/proc/slowproxy"})
    proxy.client.get("/blocking?seconds=0.5")
    line = proxy.slow_line("/blocking")
    assert "profile_file" not in line and line["code_function_name"].split(".")[-1] == "call_legacy_service"
    assert "/proc/slowproxy" in proxy.log()
