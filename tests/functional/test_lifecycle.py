"""Births and hand-overs: sockets from a service manager, a new binary under load, and what the manager is told."""
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import stat
import threading

import pytest

from objects import BINARY, PATIENCE, PYTHON, SANITIZED, Client, Proxy, alive, answer, free_port, keep_answering, until
from test_workers import Clients, keep_answering_bodies


class Manager:
    """The service manager's socket of sd_notify(3)."""

    def __init__(self, folder, abstract=False):
        name = f"{folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name if abstract else name)
        self.socket.settimeout(PATIENCE)
        self.env = {"NOTIFY_SOCKET": ("@" if abstract else "") + name}
        self.main_pid = None

    def hear(self):
        """The next message as a dict."""
        said = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
        self.main_pid = int(said.get("MAINPID", self.main_pid or 0))
        return said

    def hear_until(self, **wanted):
        while True:
            said = self.hear()
            if all(said.get(key) == value for key, value in wanted.items()):
                return said


@pytest.fixture
def manager(folder):
    made = Manager(folder)
    yield made
    made.socket.close()


HAND_OVER = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def activated(listeners):
    """What goes before the command line so that it gets these sockets as a service manager hands them over."""
    fds = [listener.fileno() for listener in listeners]
    return [PYTHON, "-c", HAND_OVER, ",".join(map(str, fds))], fds


def high(listener):
    """With a descriptor that is not in the way of those it becomes."""
    return socket.socket(fileno=fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 50))


def listening(address=("127.0.0.1", 0), family=socket.AF_INET):
    listener = socket.socket(family)
    listener.bind(address)
    listener.listen(64)
    return high(listener)


@pytest.mark.core
def test_sockets_of_a_service_manager_are_served(scripted, make_proxy, folder):
    """LISTEN_FDS: a socket at the address of `listen` is used for it, others are served besides; neither is in the way of the other."""
    tcp, path = listening(), f"{folder}/activated.sock"
    unix = listening(path, socket.AF_UNIX)
    os.chmod(path, 0o666)
    prefix, fds = activated([tcp, unix])
    at = "127.0.0.1:%d" % tcp.getsockname()[1]
    proxy = make_proxy(scripted(keep_answering()), listen=at, prefix=prefix, pass_fds=fds)
    assert proxy.client.get("/").status == 200
    assert Client(f"unix:{path}").get("/").status == 200
    proxy.signal(signal.SIGHUP)
    until(lambda: "new requests see the new configuration" in proxy.log(), "the reload")
    assert proxy.client.get("/").status == 200
    assert Client(f"unix:{path}").get("/").status == 200
    tcp.close()
    unix.close()


def test_a_restart_by_the_service_manager_loses_no_connection(scripted, make_proxy):
    """TERM with a socket of the manager's: who connects while nobody runs waits in it, and is served by the next start."""
    tcp = listening()
    backend = scripted(keep_answering())
    prefix, fds = activated([tcp])
    at = "127.0.0.1:%d" % tcp.getsockname()[1]
    first = make_proxy(backend, listen=at, prefix=prefix, pass_fds=fds, name="first")
    assert first.client.get("/").status == 200
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    waiting = first.client.raw()
    waiting.send(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    make_proxy(backend, listen=at, prefix=prefix, pass_fds=fds, name="second")
    assert waiting.read_to_end().startswith(b"HTTP/1.1 200")
    tcp.close()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_service_manager_is_told(abstract, scripted, make_proxy, folder):
    """sd_notify: READY with the first accept, RELOADING and READY around a reload, a reload in vain says so, STOPPING with TERM."""
    manager = Manager(folder, abstract)
    proxy = make_proxy(scripted(keep_answering()), env=manager.env)
    said = manager.hear()
    assert said["READY"] == "1" and said["MAINPID"] == str(proxy.pid)
    proxy.signal(signal.SIGHUP)
    assert int(manager.hear_until(RELOADING="1")["MONOTONIC_USEC"]) > 0
    manager.hear_until(READY="1")
    proxy.rewrite(capture={"rate": 50000})
    proxy.signal(signal.SIGHUP)
    manager.hear_until(RELOADING="1")
    assert "failed" in manager.hear_until(READY="1")["STATUS"]
    proxy.signal(signal.SIGTERM)
    manager.hear_until(STOPPING="1")
    assert proxy.wait() == 0
    manager.socket.close()


def listening_count(pid):
    """How many listening sockets the process holds, and each of its other descriptors is no stray one of 0, 1 or 2."""
    standard = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)}
    held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd") if int(name) > 2]
    assert not standard & set(held), held
    tables = "".join(pathlib.Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    listening_inodes = {words[9] for words in map(str.split, tables.splitlines()) if words[3] == "0A"}
    listening_inodes |= {words[6] for words in map(str.split, pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines())
                         if words[3] == "00010000"}
    return sum(name.removeprefix("socket:[").rstrip("]") in listening_inodes for name in held)


@contextlib.contextmanager
def ended_after(manager):
    """The newest of a line of binaries is nobody's child any more: it is ended here."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.kill(manager.main_pid, signal.SIGTERM)
        until(lambda: not alive(manager.main_pid), "the newest binary to end")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_reloads_and_upgrades_under_load(kind, scripted, make_proxy, manager, folder):
    """Fifty reloads and binary upgrades by turns under load: no request fails, and each old process ends."""
    turns = 6 if SANITIZED else 50 if kind == "tcp" else 10
    listen = {"listen": f"unix:{folder}/front.sock"} if kind == "unix" else {}
    admin = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(scripted(keep_answering_bodies), env=manager.env, admin={"listen": admin}, **listen)
    manager.hear_until(READY="1")
    clients, mains = Clients(proxy), [proxy.pid]
    with ended_after(manager):
        for turn in range(turns):
            answered = sum(clients.answered)
            os.kill(manager.main_pid, signal.SIGUSR2 if turn % 2 else signal.SIGHUP)
            if turn % 2:
                until(lambda: manager.hear() and manager.main_pid not in mains, "the new binary's word")
                mains.append(manager.main_pid)
            else:
                manager.hear_until(RELOADING="1")
                manager.hear_until(READY="1", MAINPID=str(manager.main_pid))
            until(lambda: sum(clients.answered) > answered + 20 or clients.failures, "answers after it")
        clients.finish()
        until(lambda: proxy.popen.poll() is not None, "the first binary to end", 30)
        until(lambda: not any(alive(pid) for pid in mains[:-1]), "the old binaries to end", 30)
        assert Client(admin).get("/readyz").status == 200
        assert listening_count(manager.main_pid) == 2  # of the address, and of the admin listener
        assert "Epoll" not in proxy.log()
    assert proxy.popen.returncode == 0 and len(mains) == 1 + turns // 2


def test_an_upgrade_in_vain_changes_nothing(scripted, make_proxy, folder, manager):
    """USR2 with a file that cannot be run, and with one that ends at once: the old one goes on and says why."""
    binary = pathlib.Path(folder) / "slowproxy"
    shutil.copy(BINARY, binary)
    proxy = make_proxy(scripted(keep_answering()), binary=binary, env=manager.env)
    manager.hear_until(READY="1")
    binary.unlink()
    proxy.signal(signal.SIGUSR2)
    until(lambda: "cannot be started" in proxy.log(), "the reason")
    binary.write_text("#!/bin/sh\necho 'this build is broken' >&2\nexit 3\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    proxy.signal(signal.SIGUSR2)
    until(lambda: "ended before it was ready" in proxy.log() and "status 3" in proxy.log(), "the reason")
    assert "this build is broken" in proxy.log()
    assert proxy.client.get("/").status == 200
    binary.unlink()
    shutil.copy(BINARY, binary)
    with ended_after(manager):
        proxy.signal(signal.SIGUSR2)
        until(lambda: manager.hear() and manager.main_pid != proxy.pid, "the new binary's word")
        assert proxy.wait() == 0
        assert proxy.client.get("/").status == 200


def test_requests_under_way_end_under_the_old_binary(scripted, make_proxy, manager):
    """A request that runs during an upgrade is answered by the old process, which ends only then."""
    arrived, released = threading.Event(), threading.Event()

    def script(connection):
        while True:
            head = connection.read_head()
            if head.startswith(b"GET /long"):
                arrived.set()
                assert released.wait(PATIENCE)
            connection.send(answer())

    proxy = make_proxy(scripted(script), env=manager.env)
    manager.hear_until(READY="1")
    long = proxy.client.raw()
    long.send(b"GET /long HTTP/1.1\r\nHost: t\r\n\r\n")
    assert arrived.wait(PATIENCE)
    with ended_after(manager):
        proxy.signal(signal.SIGUSR2)
        until(lambda: manager.hear() and manager.main_pid != proxy.pid, "the new binary's word")
        assert proxy.client.get("/").status == 200
        assert proxy.running()
        released.set()
        assert b"200 OK" in long.read_head()
        assert proxy.wait() == 0
    long.close()
