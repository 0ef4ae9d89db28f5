"""One case played through the proxy, and judged by what the client and the backend got."""
import asyncio
import re
import socket
import zlib

from strict_rig import read_answers, read_until, saw
from strict_readers import READERS

SENTINEL = (b"GET", b"/sentinel", b"")
SENTINEL_BYTES = b"GET /sentinel HTTP/1.1\r\nHost: s\r\n\r\n"
MARKER = b"/marker"  # the request behind each case
MARKER_BYTES = b"GET " + MARKER + b" HTTP/1.1\r\nHost: marker\r\n\r\n"
ADDED = re.compile(rb"\r\n(?:X-Forwarded-For|X-Request-ID|traceparent):[^\r]*", re.I)

# What a reader refuses although it is right, or reads in a way of its own. Nothing else may differ.
# Of what the proxy sends to the backend: refusing it is the backend's right, reading it otherwise would be a desync.
REFUSES_OF_OURS = {
    "h11": (),
    "gunicorn": (),
    "httptools": (
        "invalid HTTP method",  # a fixed list, in capitals; RFC 9110 9.1 leaves methods open
        "request has invalid transfer-encoding",  # it takes Transfer-EncodingX for the real one, too
    ),
}
# Of what the client sent: the proxy repairs nothing here, the grammar allows it.
REFUSES_OF_CLIENTS = {
    "h11": (
        "one request on HTTP/1.0",   # it ends each connection of HTTP/1.0, keep-alive or not
        "no request line received",  # an empty line first: RFC 9112 2.2 asks servers to skip at least one
        "illegal chunk header",      # BWS before ";": RFC 9112 7.1.1 has it
    ),
    "gunicorn": (
        "Invalid HTTP request line: ''",  # an empty line first
        "Unsupported transfer coding: 'chunked[ \\\\t]",  # OWS after the value, RFC 9110 5.5
    ),
    "httptools": (
        "invalid HTTP method",
        "invalid character in content-length header", "request has invalid transfer-encoding",  # a tab as OWS
        "invalid character in chunk size header",  # a tab as BWS
    ),
}
READS_OTHERWISE = {
    ("httptools", "harmless/upgrade-with-body"): 
        "it gives the body of a request with Upgrade to the next protocol; the proxy takes that Upgrade off",
}


def cuts_of(case, count):
    """Where a case is cut: inside its first and its last CR LF, and at places that only its name decides."""
    size, seed = len(case.data), zlib.crc32(case.name.encode())
    places = [case.data.find(b"\r\n") + 1, case.data.rfind(b"\r\n\r\n") + 1, seed % max(size, 1), seed // 7 % max(size, 1),
              case.data.find(b"\r\n\r\n") + 3, 1, size - 1]
    found = []
    for place in places:
        if 0 < place < size and place not in found:
            found.append(place)
    return found[:count]


def pieces_of(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:]) if a < b]


def origin_form(method, target):
    match = re.fullmatch(rb"https?://[^/?]*(.*)", target, re.I | re.S)
    if not match:
        return target
    return match[1] if match[1].startswith(b"/") else (b"*" if method == b"OPTIONS" and not match[1] else b"/" + match[1])


def known(patterns, reason):
    return any(re.search(pattern, reason) for pattern in patterns)


def triple(received):
    return received.method, received.target, received.body


def as_known(reader, found, wanted):
    """gunicorn makes capitals of methods: for it get is GET."""
    if reader != "gunicorn":
        return found
    return [(w[0], *f[1:]) if f[0] == w[0].upper() else f for f, w in zip(found, wanted)] + found[len(wanted):]


class Judge:
    """Gathers what is to be checked after all cases were played."""

    def __init__(self, rig):
        self.rig = rig
        self.cases = {}      # address -> (case, cuts)
        self.whole = set()   # addresses of decided cases sent in one piece: these leave no fragment at the backend
        self.forwarded = {}  # what the backend got, without ids -> an example
        self.passed = {}     # name of a case -> requests the proxy let pass, and whether it then refused
        self.runs = 0

    async def play(self, lane, item):
        case, cuts = item
        rig, address = self.rig, self.rig.next_address()
        self.cases[address] = item
        self.runs += 1
        pieces = pieces_of(case.data, cuts)
        if not case.unfinished:
            pieces = [*pieces, MARKER_BYTES] if cuts else [b"".join(pieces) + MARKER_BYTES]
        if len(pieces) == 1 and len(pieces[0]) < 8192 and not case.undecided:
            self.whole.add(address)
        plain = await rig.connect(address)
        try:
            try:
                await lane.send(plain, pieces)
                if case.unfinished:
                    await lane.barrier()
                    plain.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent
            data, ended = await read_until(plain, lambda data: data.endswith(b" " + MARKER))
        finally:
            plain.close()
        await lane.fresh(address, b"/fresh/" + address.encode())
        seen = [r for r in rig.backend.seen.pop(address) if not r.target.startswith(b"/fresh/")]
        self.judge(case, seen, data, ended)

    def judge(self, case, seen, data, ended):
        own = [r for r in seen if r.target != MARKER]
        for received in own:
            self.forwarded.setdefault(ADDED.sub(b"", received.raw), (case.name, received))
        answers = read_answers(data, [r.method for r in seen], ended)
        finals = [a for a in answers if a.status >= 200 or a.status == 0]
        assert all(a.whole for a in finals), f"a broken answer: {data[-300:]}"
        for received, final in zip(seen, finals):
            assert final.header(b"x-saw") == saw(received), f"{saw(received)} was answered with {final}"
        rest = finals[len(seen):]
        assert len(finals) >= len(seen), f"{len(seen)} requests reached the backend, {len(finals)} were answered"
        refused = bool(rest)
        if refused:
            assert len(rest) == 1 and rest[0].header(b"x-saw") is None and rest[0].status >= 400 and ended == "fin", \
                f"after a refusal the connection ends: {data[-300:]}, {ended!r}"
            assert rest[0].header(b"connection") == b"close"
        elif ended:
            said = finals[-1].header(b"connection") if finals else None
            # Of an undecided case the marker may have become part, and then nothing more comes.
            assert case.unfinished or case.undecided or said == b"close", f"closed without a word: {data[-300:]}"
        marked = seen[-1].method if len(own) < len(seen) else b""  # what came before may have become part of its method
        assert not marked or seen[-1].target == MARKER and len(own) == len(seen) - 1
        known = self.passed.setdefault(case.name, ([triple(r) for r in own], marked, refused))
        if case.undecided:
            return
        assert known == ([triple(r) for r in own], marked, refused), "cut differently it is read differently"
        assert [triple(r) for r in own] == list(case.requests), f"the backend got {[triple(r) for r in own]}"
        if case.statuses:
            assert refused and rest[0].status in case.statuses, f"not refused with {case.statuses}: {data[-400:]}"
        else:
            assert not refused, f"refused: {data[-400:]}"
        over = case.statuses or case.closes or case.unfinished
        assert (marked == b"GET") == (not over), "the next request was not served"

    # --- after all were played ---

    def readers_of_the_backends_bytes(self):
        """What the backend got is read by each independent reader as exactly that one request."""
        wrong = []
        for raw, (name, received) in self.forwarded.items():
            for reader, read in READERS.items():
                found, reason = read(received.raw + SENTINEL_BYTES)
                found = as_known(reader, found, [triple(received), SENTINEL])
                if found == [triple(received), SENTINEL] and reason in ("", "incomplete"):
                    continue
                if found == [] and reason and known(REFUSES_OF_OURS[reader], reason):
                    continue
                wrong.append(f"{name}: {reader} read {str(found)[:300]} ({reason}) of {raw[:300]}")
        return wrong

    def readers_of_the_clients_bytes(self, cases, readers=tuple(READERS)):
        """Where an independent reader reads a client's bytes at all, it reads what the proxy let pass."""
        wrong = []
        for case in cases:
            own, marked, _ = self.passed.get(case.name, ([], b"", False))
            passed = own + ([(marked, MARKER, b"")] if marked else [])
            for reader in readers:
                if (reader, case.name) in READS_OTHERWISE:
                    continue
                found, reason = READERS[reader](case.data + MARKER_BYTES)
                found = [(method, origin_form(method, target), body) for method, target, body in found]
                found = as_known(reader, found, passed)
                common = min(len(found), len(passed))
                if found[:common] != passed[:common]:
                    wrong.append(f"{case.name}: {reader} read {found[:3]}, the proxy {passed[:3]}")
                elif len(passed) > len(found) and not known(REFUSES_OF_CLIENTS[reader], reason):
                    wrong.append(f"{case.name}: {reader} refuses ({reason}) what passed: {passed[len(found):][:2]}")
        return wrong

    def fragments(self):
        """A message that was refused left nothing at the backend, unless it came in pieces."""
        wrong = []
        for fragment in self.rig.backend.fragments:
            owner = re.search(rb"\r\nX-Forwarded-For: (?:[^\r]*, )?(127[0-9.]+)\r\n", fragment)
            address = owner[1].decode() if owner else ""
            if address not in self.cases or address in self.whole and not self.cases[address][0].unfinished:
                wrong.append(f"{self.cases.get(address, ('nobody',))[0]}: {fragment[:300]}")
        return wrong

    def strays(self):
        """A request at the backend that belongs to no case, or came after its case was judged."""
        return [f"{address}: {[r.raw[:200] for r in found]}" for address, found in self.rig.backend.seen.items()
                if found and not all(r.target.startswith(b"/barrier/") for r in found)]
