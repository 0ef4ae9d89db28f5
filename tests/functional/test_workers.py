"""Several loops: they share the addresses, and reloads under load cost no request, whatever the number of loops becomes."""
import contextlib
import http.client
import signal
import threading

import pytest

from objects import SANITIZED, alive, answer, children_of, cmdline_of, until

RELOADS = 10 if SANITIZED else 50


class Clients:
    """Threads that ask without a pause: the even ones keep their connections, the odd ones make a new one each time."""

    def __init__(self, proxy, count=6):
        self.proxy = proxy
        self.answered = [0] * count
        self.failures = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, index):
        while not self.ending.is_set():
            with self.proxy.client.keep_alive() as exchange, contextlib.suppress(StopIteration):
                self._ask(index, exchange)

    def _ask(self, index, exchange):
        while not self.ending.is_set():
            try:
                method, body = ("POST", b"x" * 100) if index % 4 > 1 else ("GET", None)
                response = exchange(method, "/", body=body)
            except (OSError, http.client.HTTPException) as failure:
                self.failures.append(f"client {index} after {self.answered[index]} answers: {failure!r}")
                return
            if response.status != 200:
                self.failures.append(f"client {index}: {response.status}")
            self.answered[index] += 1
            if index % 2:
                return

    def finish(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(20)
        assert not self.failures, (len(self.failures), self.failures[:5], self.answered)
        assert min(self.answered) > 0, self.answered
        return sum(self.answered)


def keep_answering_bodies(connection):
    while True:
        head = connection.read_head()
        if b"Content-Length: 100\r\n" in head:
            connection.read_exactly(100)
        connection.send(answer())


def proxy_processes(proxy):
    return {pid for pid in children_of(proxy.pid) if "role=proxy" in cmdline_of(pid) or
            cmdline_of(pid) == "slowproxy: proxy"}


def reload(proxy, seen):
    """HUP; the pid of the new proxy process, which was never seen before."""
    proxy.signal(signal.SIGHUP)
    new = until(lambda: proxy_processes(proxy) - seen, "a new proxy process", 30)
    seen |= new
    return new.pop()


def reload_often(proxy, workers):
    seen = proxy_processes(proxy)
    clients = Clients(proxy)
    for count in workers:
        proxy.rewrite(workers=count)
        answered = sum(clients.answered)
        newest = reload(proxy, seen)
        until(lambda: sum(clients.answered) > answered + 20 or clients.failures, "answers after the reload")
    clients.finish()
    assert len(seen) == len(workers) + 1
    until(lambda: not any(alive(pid) for pid in seen - {newest}), "the old ones to end", 30)


def test_two_loops_share_the_traffic(scripted, make_proxy):
    """workers: 2: both loops get connections of the one address, and all requests are answered."""
    backend = scripted(keep_answering_bodies)
    proxy = make_proxy(backend, workers=2)
    # Each loop has a pool of its own: the answered clients of two loops leave at least two backend connections.
    for _ in range(40):
        assert proxy.client.get("/").status == 200
    assert 2 <= len(backend.connections) < 40


def test_two_loops_share_a_unix_socket(scripted, make_proxy, folder):
    """workers: 2 on a unix socket: requests are answered, and reloads cost none."""
    proxy = make_proxy(scripted(keep_answering_bodies), workers=2, listen=f"unix:{folder}/front.sock")
    reload_often(proxy, [2] * (RELOADS // 5))


@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_reloads_under_load(workers, scripted, make_proxy):
    """Fifty reloads in a row under load: no request fails, of clients that keep their connection and of those that do not."""
    reload_often(make_proxy(scripted(keep_answering_bodies), workers=workers), [workers] * RELOADS)


def test_reloads_change_the_number_of_loops(scripted, make_proxy):
    """Loops come and go by reloads under load: no connection is left with a loop that is gone."""
    reload_often(make_proxy(scripted(keep_answering_bodies), workers=1), [2, 1, 3, 2, 1, 1, 2, 3, 1, 2])
