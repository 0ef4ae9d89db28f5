"""The stale keep-alive race: a backend that closes its idle connections just when the next request comes costs no request."""
import random
import socket
import threading
import time

import pytest

from objects import answer, until

CLOSES_AFTER = 0.4  # seconds, to the moment


def close_when_idle(connection):
    """A server with a keep-alive timeout, as uvicorn (5 s) and gunicorn (2 s) have one."""
    while True:
        connection.socket.settimeout(CLOSES_AFTER)
        try:
            head = connection.read_head()
        except socket.timeout:
            return
        if b"Content-Length: 3\r\n" in head:
            connection.read_exactly(3)
        connection.send(answer())


def ask_at_the_moment(proxy, rounds, failures, seed):
    """Requests on one connection, each when the backend is about to close the one it would go by."""
    dice = random.Random(seed)
    with proxy.client.keep_alive() as ask:
        for turn in range(rounds):
            method, body = ("POST", b"abc") if turn % 3 else ("GET", None)
            status = ask(method, "/", body=body).status
            if status != 200:
                failures.append((method, status))
            time.sleep(CLOSES_AFTER * dice.uniform(0.85, 1.05))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_no_request_meets_the_end_of_a_kept_connection(kind, scripted, make_proxy, folder):
    """The backend's keep-alive timeout is learned and said, and from then on no request fails at it: POST, TCP and unix sockets."""
    backend = scripted(close_when_idle, folder if kind == "unix" else None)
    proxy = make_proxy(backend, timeouts={"upstream_idle": "60s"}, capture={"enabled": False})
    while "closes idle connections after" not in proxy.log():
        made = len(backend.connections)
        assert made < 50
        assert proxy.client.get("/").status == 200
        until(lambda: backend.connections[-1].closed.is_set(), "the backend to close its idle connection")
    said = float(proxy.log().partition("closes idle connections after ")[2].split()[0])
    assert abs(said - CLOSES_AFTER) < 0.1, said
    failures = []
    clients = [threading.Thread(target=ask_at_the_moment, args=(proxy, 12, failures, seed)) for seed in range(12)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures, failures
    assert "upstream_reset" not in proxy.log()
