"""Seeded variations of the corpus: a byte here, a line there, two messages spliced. Nobody says what must become of them."""
import random

from corpus.cases import Case, ResponseCase

BYTES = [b"\0", b"\t", b"\n", b"\x0b", b"\r", b" ", b"!", b"\"", b"#", b"%", b",", b"-", b"0", b"1", b";", b":", b"=", b"\\",
         b"_", b"x", b"\x7f", b"\x80", b"\xff"]
PARTS = [
    b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t", b"\n\r", b": ", b" :", b", ", b";", b"HTTP/1.1", b"HTTP/1.0",
    b"HTTP/2.0", b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"Host: i\r\n", b"Content-Length: 0\r\n",
    b"Content-Length: 3\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Content-Length\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"chunked",
    b"0\r\n\r\n", b"3\r\nabc\r\n", b"0;a=b\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"http://h/", b"*", b"/", b"?", b"100", b"0x",
    b"X-Forwarded-For: 127.0.0.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
]


def lines_of(data):
    return data.split(b"\r\n")


def flip(r, data):
    at = r.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1:]


def put(r, data):
    at = r.randrange(len(data) + 1)
    return data[:at] + r.choice(BYTES if r.random() < 0.5 else PARTS) + data[at:]


def replace(r, data):
    at = r.randrange(len(data))
    return data[:at] + r.choice(BYTES) + data[at + 1:]


def remove(r, data):
    at = r.randrange(len(data))
    return data[:at] + data[at + r.choice((1, 1, 1, 2, 5)):]


def swap_case(r, data):
    at = r.randrange(len(data))
    return data[:at] + data[at:at + 8].swapcase() + data[at + 8:]


def twice_a_line(r, data):
    lines = lines_of(data)
    at = r.randrange(len(lines))
    return b"\r\n".join(lines[:at] + [lines[at]] + lines[at:])


def swap_lines(r, data):
    lines = lines_of(data)
    a, b = r.randrange(len(lines)), r.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def drop_a_line(r, data):
    lines = lines_of(data)
    del lines[r.randrange(len(lines))]
    return b"\r\n".join(lines)


def other_number(r, data):
    digits = [i for i, b in enumerate(data) if chr(b).isdigit()]
    if not digits:
        return data
    at = r.choice(digits)
    return data[:at] + r.choice((b"0", b"1", b"3", b"5", b"9", b"a", b"10", b"00", b"")) + data[at + 1:]


CHANGES = [flip, put, put, put, replace, remove, swap_case, twice_a_line, swap_lines, drop_a_line, other_number]


def mutate(r, pool):
    data = r.choice(pool).data
    if r.random() < 0.2:
        other = r.choice(pool).data
        data = data[:r.randrange(len(data) + 1)] + other[r.randrange(len(other) + 1):]
    for _ in range(r.choice((1, 1, 1, 2, 2, 3, 5))):
        data = r.choice(CHANGES)(r, data) if data else r.choice(PARTS)
    return data


def pool_of(cases):
    """Short ones, the well-formed as often as the malformed: what is nearly right is what goes wrong."""
    short = [case for case in cases if 0 < len(case.data) < 600]
    right = [case for case in short if case.name.startswith(("well/", "harmless/"))]
    wrong = [case for case in short if case not in right]
    return right * max(1, len(wrong) // max(1, len(right))) + wrong


def requests(cases, seed, rounds):
    r, pool = random.Random(seed), pool_of(cases)
    return [Case(f"mutant-{seed}-{n}", mutate(r, pool), None) for n in range(rounds)]


def responses(cases, seed, rounds):
    r, pool = random.Random(seed), pool_of(cases)
    return [ResponseCase(f"mutant-{seed}-{n}", mutate(r, pool), "", then=r.choice(("hold", "close", "close")),
                         method=r.choice((b"GET", b"GET", b"GET", b"HEAD"))) for n in range(rounds)]
