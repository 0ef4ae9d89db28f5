#!/usr/bin/python3
"""Hours of bad days in minutes: every kind of client at once, while everything around slowproxy is reloaded, upgraded and killed.

    tests/soak/run.py [--minutes N] [--workers N]        SLOWPROXY_BIN names another build, such as build-asan/slowproxy

By turns every few seconds: HUP, USR2 (a new binary takes over), the sampler killed, a worker of the backend killed, USR1. At the end: no
well-behaved request failed but those a killed worker took with it, each line is JSON of bounded length whose phases make up its
duration, the causes are those of the endpoints, nothing grew, and TERM ends it all.
"""
import argparse
import collections
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "functional"))
from objects import DEMO, SANITIZED, Process, Proxy, alive, children_of, cmdline_of, gunicorn, rss_bytes, until

LINE_LIMIT = 12 * 1024
GRACE_SECONDS = 8  # how long after a worker was killed its requests may fail
# endpoint -> causes that are true of it; `blocked_by` is true of any that shared a worker with /cpu or /blocking
SLOW = {"/cpu": {"cpu"}, "/blocking": {"blocking_call"}, "/await": {"await"}, "/sync-sleep": {"blocking_call"},
        "/sync-cpu": {"cpu", "gil_wait"}}
UNLIKE_CAUSES = 0.03  # of the lines of one endpoint kind; tests/functional/test_truth.py judges causes, here is only a net below
PHASES = ("upload_ms", "connect_ms", "queue_ms", "app_ms", "download_ms")


class Traffic:
    """Threads of clients, and what became of their requests."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.counted = collections.Counter()
        self.failures = []  # (when, what)
        self.ending = threading.Event()
        clients = [self.fast, self.fast, self.slow, self.slow, self.upload, self.stream, self.leaves, self.malformed, self.dawdles]
        self.kinds = {client.__name__ for client in clients}
        self.threads = [threading.Thread(target=self.run, args=(client,), daemon=True) for client in clients]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        while not self.ending.is_set():
            try:
                client()
                self.counted[client.__name__] += 1
            except (OSError, http.client.HTTPException, AssertionError, EOFError) as failure:
                self.failures.append((time.monotonic(), f"{client.__name__}: {failure!r}"))

    def finish(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(30)

    def expect(self, response, status=200):
        assert response.status == status, (response.status, response.body[:200])

    def fast(self):
        with self.proxy.client.keep_alive() as exchange:
            for _ in range(random.randint(1, 200)):
                if self.ending.is_set():
                    return
                self.expect(exchange("GET", f"/items/{random.randint(1, 9)}"))
                time.sleep(0.002)

    def slow(self):
        path = random.choice(list(SLOW))
        self.expect(self.proxy.client.get(f"{path}?seconds={random.uniform(0.2, 0.9):.2f}"))

    def upload(self):
        self.expect(self.proxy.client.post("/", b"x" * random.randint(1, 3_000_000)), 405)
        time.sleep(0.02)

    def stream(self):
        self.expect(self.proxy.client.get("/events?count=5&interval=0.05"))

    def leaves(self):
        """A client that goes at a random byte of the request, or in the middle of its answer."""
        request = b"GET /await?seconds=0.5 HTTP/1.1\r\nHost: t\r\n\r\n"
        connection = self.proxy.client.raw()
        connection.send(request[:random.randint(1, len(request))])
        time.sleep(random.uniform(0, 0.3))
        random.choice((connection.reset, connection.close))()

    def malformed(self):
        """One byte is another; where that leaves no whole request the answer is a 408, after timeouts.header."""
        request = bytearray(b"GET /items/1 HTTP/1.1\r\nHost: t\r\nX-A: b\r\n\r\n")
        request[random.randrange(len(request))] = random.randrange(256)
        connection = self.proxy.client.raw()
        connection.send(bytes(request))
        connection.read_head()
        connection.close()

    def dawdles(self):
        """A slow reader."""
        connection = self.proxy.client.raw()
        connection.send(b"GET /events?count=20&interval=0.02 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        while connection.socket.recv(16):
            time.sleep(0.01)
        connection.close()


class Manager:
    """The service manager: the one who is told which process is the parent after an upgrade (sd_notify)."""

    def __init__(self, folder):
        self.path = f"{folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.main_pid = None
        self.ready = 0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            said = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
            self.main_pid = int(said.get("MAINPID", self.main_pid or 0))
            self.ready += said.get("READY") == "1"


class Troubles:
    """What is done to them, by turns; `killed` are the instants at which requests were lost to a dead worker."""

    def __init__(self, manager, backend):
        self.manager, self.backend = manager, backend
        self.killed = []
        self.done = collections.Counter()
        self.turns = itertools.cycle((self.reload, self.kill_sampler, self.reopen, self.upgrade, self.kill_worker))

    def next(self):
        turn = next(self.turns)
        turn()
        self.done[turn.__name__] += 1

    def reload(self):
        self.hand_over(signal.SIGHUP)

    def upgrade(self):
        self.hand_over(signal.SIGUSR2)

    def hand_over(self, number):
        before = self.manager.ready
        os.kill(self.manager.main_pid, number)
        until(lambda: self.manager.ready > before, f"READY=1 after signal {number}", 60)

    def reopen(self):
        os.kill(self.manager.main_pid, signal.SIGUSR1)

    def kill_sampler(self):
        def kill():
            found = roles(self.manager.main_pid)["sampler"]
            with contextlib.suppress(ProcessLookupError):
                return [os.kill(pid, signal.SIGKILL) for pid in found]
        until(kill, "a sampler to kill")

    def kill_worker(self):
        """gunicorn replaces it."""
        self.killed.append(time.monotonic())
        os.kill(random.choice(until(lambda: children_of(self.backend.pid), "a worker")), signal.SIGKILL)


def roles(parent):
    found = collections.defaultdict(list)
    for pid in children_of(parent):
        name = cmdline_of(pid).rpartition("role=")[2] or cmdline_of(pid).rpartition(": ")[2]
        found[name.split()[0] if name else "?"].append(pid)
    return found


def held(parent):
    """What the family holds: {"parent": (RSS in bytes, descriptors, threads), ...}; the youngest of each role."""
    pids = {"parent": parent, **{name: max(pids) for name, pids in roles(parent).items()}}
    with contextlib.suppress(OSError):
        return {name: (rss_bytes(pid), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
                for name, pid in pids.items()}
    return {}


def judge_line(text):
    """What is wrong with one line of standard output, or None."""
    if len(text.encode()) > LINE_LIMIT:
        return f"{len(text)} characters long"
    try:
        line = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if line.get("event") != "slow_request":
        return None
    missing = line["duration_ms"] - sum(line.get(name, 0) for name in PHASES)
    if abs(missing) > max(10, 0.05 * line["duration_ms"]):
        return f"phases miss {missing:.1f} ms"
    path = line["url_path"]
    if line["attribution"] in ("task", "thread") and path in SLOW and line["outcome"] == "ok" and \
            line["cause"] not in SLOW[path] | {"blocked_by", "queued"}:
        return f"cause {line['cause']} of {path}"
    return None


def soak(options, folder):
    backend = gunicorn(folder, workers=2, worker_class="uvicorn.workers.UvicornWorker", app="app:app", app_dir=DEMO)
    manager = Manager(folder)
    settings = {"workers": options.workers, "timeouts": {"header": "5s"}, "capture": {"max_bytes": "4MiB"},
                "admin": {"listen": f"unix:{folder}/admin.sock"}, "routes": {"openapi": "/openapi.json"}}
    proxy = Proxy(folder, backend, env={"NOTIFY_SOCKET": manager.path}, **settings)
    traffic, troubles = Traffic(proxy), Troubles(manager, backend)
    until(lambda: manager.main_pid, "READY=1")
    end = time.monotonic() + options.minutes * 60
    first = None
    while time.monotonic() < end:
        time.sleep(options.every)
        troubles.next()
        now = held(manager.main_pid)
        first = first or (now if troubles.done["kill_worker"] else None)
        print(f"{options.minutes * 60 - (end - time.monotonic()):6.0f} s", dict(troubles.done), dict(traffic.counted),
              f"{len(traffic.failures)} failures",
              *(f"{name} {rss / 1e6:.1f} MB/{fds} fds/{threads} threads" for name, (rss, fds, threads) in now.items()), flush=True)
    traffic.finish()
    last = held(manager.main_pid)
    os.kill(manager.main_pid, signal.SIGTERM)
    until(lambda: not alive(manager.main_pid), "the end after TERM", 30)

    print(f"held {first} -> {last}")
    return lost(traffic, troubles) + wrong_lines(proxy) + grown(first or {}, last) + sanitizer(proxy)


def lost(traffic, troubles):
    """Failed requests that no killed worker explains, and kinds of clients that never came to anything."""
    print(f"{sum(traffic.counted.values())} turns of clients, {len(traffic.failures)} requests lost, troubles {dict(troubles.done)}")
    unexplained = [what for when, what in traffic.failures if not any(0 <= when - killed < GRACE_SECONDS for killed in troubles.killed)]
    return unexplained + [f"{kind} never succeeded" for kind in traffic.kinds if not traffic.counted[kind]]


def wrong_lines(proxy):
    lines = [line for line in proxy.output().splitlines() if line.strip()]
    wrong = collections.Counter(filter(None, map(judge_line, lines)))
    slow = sum('"slow_request"' in line for line in lines)
    print(f"{slow} slow lines, wrong of them: {dict(wrong)}")
    bound = lambda what: slow * UNLIKE_CAUSES if what.startswith("cause") else 0
    return [f"{count} lines: {what}" for what, count in wrong.items() if count > bound(what)] or ([] if slow else ["no slow line"])


def grown(first, last):
    """A sanitizer keeps freed memory, so there only descriptors and threads are compared."""
    complaints = []
    for name in first.keys() & last.keys():
        (rss, fds, threads), (rss_now, fds_now, threads_now) = first[name], last[name]
        if fds_now > fds + 60 or threads_now > threads + 2 or not SANITIZED and rss_now > 1.5 * rss + 4e6:
            complaints.append(f"{name} grew: {first[name]} -> {last[name]}")
    return complaints


def sanitizer(proxy):
    said = proxy.errors()
    return [said[-4000:]] if "Sanitizer" in said or "runtime error:" in said else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=4, help="seconds between two troubles")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="slowproxy-soak-")
    os.chmod(folder, 0o755)
    complaints = ["it did not come to its end"]
    try:
        complaints = soak(options, folder)
    finally:
        for process in reversed(Process.started):
            process.stop()
        if not complaints:
            shutil.rmtree(folder, ignore_errors=True)
    for complaint in complaints[:40]:
        print("NOT RIGHT:", complaint)
    print("all is well" if not complaints else f"{len(complaints)} complaints; the files are in {folder}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
