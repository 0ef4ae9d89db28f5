#!/usr/bin/python3
"""No byte is lost, whenever a client leaves: slowproxy under valgrind, and clients that go at each byte of request and answer.

    tests/valgrind/aborts.py [REQUESTS]        2000 by default; 100000 takes the better part of an hour

The network process is started here as its parent would start it (src/app/roles.h): valgrind 3.19 cannot follow a program that
starts itself anew. By turns: a request cut after each of its bytes, an answer cut after each of its bytes, each with FIN and with RST, and
requests that end well. Afterwards TERM, and all memory must have been given back.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

BINARY = pathlib.Path(__file__).resolve().parents[2] / "build" / "slowproxy"
HOST = b"Host: t\r\n"
REQUESTS = [
    b"GET /plain?x=1 HTTP/1.1\r\n" + HOST + b"X-A: b\r\n\r\n",
    b"POST /length HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\n\r\nhello world",
    b"PUT /chunked HTTP/1.1\r\n" + HOST + b"TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: u\r\n\r\n",
    b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\nhello",
    b"GET /a HTTP/1.1\r\n" + HOST + b"\r\nGET /close HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /bad HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
    b"HEAD /head HTTP/1.0\r\n\r\n",
]
ANSWERS = {
    b"/length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"/chunked": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"5\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
    b"/ws": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nwelcome",
    b"/close": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
}
CONTROL_SOCKETS = 3  # enum control_type
ANSWER_BYTES = 420  # longer than the longest as the client sees it


def serve(connection):
    """A backend that reads loosely: one answer for each request line it sees."""
    with connection:
        data = b""
        while True:
            head, end, rest = data.partition(b"\r\n\r\n")
            if end:
                path = head.split(b" ")[1].partition(b"?")[0]
                if path == b"/chunked" and b"X-T: u\r\n\r\n" not in rest or path == b"/length" and len(rest) < 11:
                    end = b""
            if not end:
                got = connection.recv(65536)
                if not got:
                    return
                data += got
                continue
            data = rest[11:] if path == b"/length" else b"" if path == b"/chunked" else rest
            connection.sendall(ANSWERS.get(path, b"HTTP/1.1 204 No Content\r\n\r\n"))
            if path in (b"/ws", b"/close"):
                if path == b"/ws":
                    connection.recv(100)
                return


def quietly(work, *arguments):
    try:
        work(*arguments)
    except OSError:
        pass


def accept_all(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(serve, connection), daemon=True).start()


def leave(connection, with_reset):
    if with_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_up_to(connection, size):
    while size > 0:
        got = connection.recv(size)
        if not got:
            return
        size -= len(got)


def cases():
    """(request, bytes of it that are sent, bytes of the answer that are read, RST at the end), without end."""
    while True:
        for request in REQUESTS:
            for with_reset in (False, True):
                for sent in range(len(request)):
                    yield request, sent, 0, with_reset
                for read in range(0, ANSWER_BYTES, 3):
                    yield request, len(request), read, with_reset


def play(address, case):
    request, sent, read, with_reset = case
    connection = socket.create_connection(address)
    connection.settimeout(0.05 if read else 30)
    try:
        connection.sendall(request[:sent])
        read_up_to(connection, read)
    except OSError:
        pass  # refused, or less of an answer than was waited for
    leave(connection, with_reset)


def play_many(address, count, all_cases, lock):
    for _ in range(count):
        with lock:
            case = next(all_cases)
        quietly(play, address, case)


def wait_until_it_accepts(address, process):
    deadline = time.monotonic() + 120
    while True:
        try:
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(REQUESTS[6])
                if connection.recv(100):
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("slowproxy did not start under valgrind")
        time.sleep(0.1)


def start_role(folder, config, listener):
    """The process on the network under valgrind, with the descriptors that its parent would give it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(struct.pack("IIIIII", CONTROL_SOCKETS, 0, 1, 1, 1, 0))  # one row of one socket, not lent; no admin listener
    memory = os.memfd_create("config")
    os.write(memory, config.read_bytes())
    given = [os.dup2(fd, 100 + i) for i, fd in enumerate((memory, theirs.fileno(), listener.fileno()))]

    def arrange():
        for i, fd in enumerate(given):
            os.dup2(fd, 3 + i)
        os.closerange(3 + len(given), 200)

    argv = ["valgrind", "--leak-check=full", f"--log-file={folder}/valgrind.log", BINARY, "--role=proxy", "-c", config]
    process = subprocess.Popen(argv, preexec_fn=arrange, close_fds=False)
    for fd in given:
        os.close(fd)
    theirs.close()
    return process, ours


def judge(folder):
    """The sentences that say what was lost."""
    logs = sorted(folder.glob("valgrind.log"))
    told = []
    for log in logs:
        text = log.read_text()
        lost = re.findall(r"(definitely|indirectly|possibly) lost: ([\d,]+) bytes", text)
        errors = re.findall(r"ERROR SUMMARY: (\d+) errors", text)
        complete = bool(errors) and ("no leaks are possible" in text or len(lost) == 3)
        command = re.search(r"Command: (.*)", text).group(1)[:60]
        print(f"{command}: {', '.join(f'{size} bytes {kind} lost' for kind, size in lost) or 'nothing in use at exit'}, "
              f"{errors[-1] if errors else '?'} errors")
        if not complete or errors[-1] != "0" or any(size != "0" for _, size in lost):
            told.append(text)
    return told if logs else ["valgrind wrote no log"]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    if not shutil.which("valgrind"):
        print("SKIPPED: there is no valgrind")
        return 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slowproxy-valgrind-"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    front = socket.create_server(("127.0.0.1", 0), backlog=512)
    address = front.getsockname()
    threading.Thread(target=quietly, args=(accept_all, listener), daemon=True).start()
    config = folder / "proxy.yaml"
    config.write_text(f"listen: 127.0.0.1:{address[1]}\nupstream: 127.0.0.1:{listener.getsockname()[1]}\n"
                      "capture: {enabled: false}\nadmin: {listen: \"off\"}\nlogs: {access: " + str(folder / "access") +
                      ", level: error}\nuser: root\ntimeouts: {drain: 60s}\n")
    process, _control = start_role(folder, config, front)
    front.close()
    wait_until_it_accepts(address, process)
    began, all_cases, lock = time.monotonic(), cases(), threading.Lock()
    players = [threading.Thread(target=play_many, args=(address, count // 8, all_cases, lock)) for _ in range(8)]
    for player in players:
        player.start()
    for player in players:
        player.join()
    process.send_signal(signal.SIGTERM)
    status = process.wait(180)
    lines = (folder / "access").read_text().count("\n")
    print(f"{count // 8 * 8} clients in {time.monotonic() - began:.0f} s, {lines} requests of theirs were complete; exit status {status}")
    told = judge(folder)
    for text in told:
        print(text)
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if told or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
