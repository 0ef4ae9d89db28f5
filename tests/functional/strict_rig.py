"""Thousands of exchanges through one proxy, side by side, and a backend that writes down what it gets.

    lane ---- case, marker ----> proxy ----> RecordingBackend     seen[address of the client] = requests
         ---- barrier ---------> proxy ----> (any connection)

Each case has a loopback address of its own (127.a.b.c), which X-Forwarded-For tells the backend: so each request that
arrives belongs to one case, and one that belongs to none was smuggled. A barrier is a request on the lane's own
connection: when its answer is here, the proxy (one event loop) has read what was sent before it. No clock is involved.
"""
import asyncio
import collections
import re
import socket
import time
import typing

from objects import PATIENCE

LANES = 24
HEAD_LIMIT = 1 << 20
REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.1")
HEADER_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class Received(typing.NamedTuple):
    method: bytes
    target: bytes
    body: bytes
    raw: bytes
    address: str
    headers: tuple


class Malformed(Exception):
    """What the proxy sent is not in the small language that it may speak to a backend."""


class Bytes:
    """A socket's input, read by message parts."""

    def __init__(self, plain):
        self.socket = plain
        self.data = bytearray()

    async def more(self):
        got = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 65536), PATIENCE)
        self.data += got
        return bool(got)

    async def upto(self, mark, taken):
        """Moves bytes up to and with `mark` to the end of `taken`; EOFError when they end before."""
        start = 0
        while (at := self.data.find(mark, start)) < 0:
            start = max(0, len(self.data) - len(mark))
            if not await self.more():
                raise EOFError
        piece = bytes(self.data[:at + len(mark)])
        del self.data[:at + len(mark)]
        taken += piece
        return piece

    async def exactly(self, size, taken):
        while len(self.data) < size:
            if not await self.more():
                raise EOFError
        piece = bytes(self.data[:size])
        del self.data[:size]
        taken += piece
        return piece


async def read_request(source, taken):
    """One request in the strict language; `taken` grows by what was read, so that it shows where reading stopped."""
    head = (await source.upto(b"\r\n\r\n", taken))[:-4].split(b"\r\n")
    line = REQUEST_LINE.fullmatch(head[0])
    headers = [HEADER_LINE.fullmatch(text) for text in head[1:]]
    if not line or not all(headers):
        raise Malformed("head")
    named = collections.defaultdict(list)
    for header in headers:
        named[header[1].lower()].append(header[2].strip(b" \t"))
    lengths, encodings = named[b"content-length"], named[b"transfer-encoding"]
    if len(named[b"host"]) != 1 or len(lengths) + len(encodings) > 1 or encodings not in ([], [b"chunked"]):
        raise Malformed("framing")
    body = b""
    if lengths:
        if not re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]):
            raise Malformed("length")
        body = await source.exactly(int(lengths[0]), taken)
    elif encodings:
        body = await read_chunks(source, taken)
    address = named[b"x-forwarded-for"][-1].split(b",")[-1].strip().decode() if named[b"x-forwarded-for"] else ""
    return Received(line[1], line[2], body, bytes(taken), address, tuple((h[1], h[2].strip(b" \t")) for h in headers))


async def read_chunks(source, taken):
    body = bytearray()
    while True:
        line = await source.upto(b"\r\n", taken)
        if not re.fullmatch(rb"[0-9a-f]{1,16}\r\n", line):
            raise Malformed("chunk line")
        size = int(line, 16)
        if size == 0:
            break
        body += await source.exactly(size, taken)
        if await source.exactly(2, taken) != b"\r\n":
            raise Malformed("chunk end")
    while (line := await source.upto(b"\r\n", taken)) != b"\r\n":
        if not HEADER_LINE.fullmatch(line[:-2]):
            raise Malformed("trailer")
    return bytes(body)


def saw(received):
    return received.method + b" " + received.target


def answer_to(received):
    """Says which request it answers."""
    body = b"" if received.method == b"HEAD" else saw(received)
    return b"HTTP/1.1 200 OK\r\nX-Saw: %s\r\nContent-Length: %d\r\n\r\n%s" % (saw(received), len(saw(received)), body)


class BackendConnection:
    def __init__(self, plain):
        self.socket = plain
        self.source = Bytes(plain)
        self.requests = 0
        self.spoiled_by = ""  # the response after which it must not be used any more


class RecordingBackend:
    """Records every byte it gets, by the client's address; answers complete requests only."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.seen = collections.defaultdict(list)
        self.fragments = []   # what was left on a connection that closed in the middle of a request
        self.violations = []  # what was not in the strict language, or came where nothing may
        self.total = 0
        self.scripts = {}     # target -> coroutine(connection, received) for answers of another kind

    def forget(self):
        """What an earlier test left."""
        for record in (self.seen, self.fragments, self.violations):
            record.clear()

    async def accept(self):
        loop, tasks = asyncio.get_running_loop(), set()
        try:
            while True:
                plain, _ = await loop.sock_accept(self.listener)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.ensure_future(self.serve(BackendConnection(plain)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in list(tasks):
                task.cancel()

    async def serve(self, connection):
        taken = bytearray()
        try:
            while True:
                taken = bytearray()
                received = await read_request(connection.source, taken)
                self.record(connection, received)
                script = self.scripts.get(received.target)
                if script is None:
                    await asyncio.get_running_loop().sock_sendall(connection.socket, answer_to(received))
                elif not await script(connection, received):
                    return
        except EOFError:
            rest = bytes(taken) + bytes(connection.source.data)
            if rest:
                self.fragments.append(rest)
        except Malformed as what:
            self.violations.append((str(what), bytes(taken) + bytes(connection.source.data)))
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            connection.socket.close()

    def record(self, connection, received):
        self.total += 1
        connection.requests += 1
        if connection.spoiled_by:
            self.violations.append((f"a connection spoiled by {connection.spoiled_by} was used again", received.raw))
        self.seen[received.address].append(received)


class Answer(typing.NamedTuple):
    status: int
    head: tuple   # lines
    body: bytes
    whole: bool   # it did not end before its framing said so

    def header(self, name):
        for line in self.head[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name:
                return value.strip()
        return None


def read_answers(data, methods, ended):
    """The answers in `data`, strictly; the i-th final one answers methods[i] (GET when there are fewer)."""
    answers, finals = [], 0
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status_line = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\x00-\x08\x0a-\x1f\x7f]*", lines[0])
        assert status_line or not mark, f"this is no status line: {lines[0][:200]}"
        if not mark:
            answers.append(Answer(0, tuple(lines), b"", False))
            break
        status = int(status_line[1])
        answer = Answer(status, tuple(lines), b"", True)
        method = methods[finals] if finals < len(methods) else b"GET"
        if 100 <= status < 200:
            answers.append(answer)
            data = rest
            continue
        finals += 1
        if method == b"HEAD" or status in (204, 304):
            body, whole, data = b"", True, rest
        elif answer.header(b"transfer-encoding") is not None:
            body, whole, data = read_answer_chunks(rest)
        elif answer.header(b"content-length") is not None:
            length = int(answer.header(b"content-length"))
            body, whole, data = rest[:length], len(rest) >= length, rest[length:]
        else:
            body, whole, data = rest, ended == "fin", b""
        answers.append(answer._replace(body=body, whole=whole))
    return answers


def read_answer_chunks(data):
    body = b""
    while True:
        line, mark, rest = data.partition(b"\r\n")
        if not mark:
            return body, False, b""
        assert re.fullmatch(rb"[0-9a-f]+", line), line
        size = int(line, 16)
        if size == 0:
            break
        if len(rest) < size + 2:
            return body + rest[:size], False, b""
        assert rest[size:size + 2] == b"\r\n"
        body, data = body + rest[:size], rest[size + 2:]
    while True:
        line, mark, rest = rest.partition(b"\r\n")
        if not mark:
            return body, False, b""
        if not line:
            return body, True, rest


class Rig:
    """The proxy's clients. Made inside a running loop; `each` runs a coroutine for each item in parallel lanes."""

    def __init__(self, backend, listen):
        self.backend = backend
        host, _, port = listen.rpartition(":")
        self.listen = (host, int(port))
        self.count = 0
        self.lanes = []

    def next_address(self):
        self.count += 1
        n = self.count
        return f"127.{1 + (n >> 16 & 127)}.{n >> 8 & 255}.{n & 255}"

    async def connect(self, address=None):
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address:
            plain.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(plain, self.listen)
        return plain

    async def each(self, items, work, lanes=LANES):
        """work(lane, item) for all; returns what failed as (item, exception)."""
        waiting, failed = collections.deque(items), []

        async def run():
            lane = Lane(self)
            try:
                while waiting:
                    item = waiting.popleft()
                    try:
                        await work(lane, item)
                    except (AssertionError, OSError, asyncio.TimeoutError, EOFError, ValueError) as failure:
                        failed.append((item, failure))
            finally:
                lane.close()

        await asyncio.gather(*[run() for _ in range(lanes)])
        return failed


class Lane:
    def __init__(self, rig):
        self.rig = rig
        self.address = rig.next_address()
        self.plain = None
        self.barriers = 0
        self.last = 0.0

    def close(self):
        if self.plain:
            self.plain.close()

    async def barrier(self):
        """Returns when the proxy has read all that was sent to it before."""
        self.barriers += 1
        if self.plain is None or self.barriers % 200 == 0 or time.monotonic() - self.last > 3:
            self.close()  # it may have been idle for too long
            self.plain = await self.rig.connect(self.address)
        self.last = time.monotonic()
        await ask(self.plain, b"/barrier/%d" % self.barriers)

    async def send(self, plain, pieces):
        """Each piece by itself, read by the proxy before the next one is sent."""
        for index, piece in enumerate(pieces):
            if index:
                await self.barrier()
            await asyncio.get_running_loop().sock_sendall(plain, piece)

    async def fresh(self, address, target):
        """A new connection is answered rightly."""
        plain = await self.rig.connect(address)
        try:
            await ask(plain, target)
        finally:
            plain.close()


async def ask(plain, target):
    """A plain request, answered as itself and with nothing else."""
    await asyncio.get_running_loop().sock_sendall(plain, b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % target)
    data, _ = await read_until(plain, lambda data: data.endswith(b"GET " + target))
    answers = read_answers(data, [b"GET"], "")
    assert [(a.status, a.body) for a in answers] == [(200, b"GET " + target)], f"{target} was answered with {data[:300]}"


async def read_until(plain, enough):
    """(bytes, how it ended: "" when enough(bytes), "fin" or "reset")."""
    loop, data = asyncio.get_running_loop(), b""
    while not enough(data):
        try:
            got = await asyncio.wait_for(loop.sock_recv(plain, 65536), PATIENCE)
        except ConnectionResetError:
            return data, "reset"
        if not got:
            return data, "fin"
        data += got
    return data, ""
