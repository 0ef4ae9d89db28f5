"""What a case is, and the few words the tables are written in."""
import typing

HOST = b"Host: h\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST /p HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"\r\n"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"  # nobody may ever serve this one

CONTROLS = bytes(range(0x20)) + b"\x7f"
TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NO_TOKEN_BYTES = bytes(b for b in range(256) if b not in TOKEN_BYTES)


class Case(typing.NamedTuple):
    """Bytes of a client and what must become of them."""
    name: str
    data: bytes
    requests: typing.Optional[tuple]  # (method, target, body) that the backend gets; None: whatever the parsers read
    statuses: tuple = ()              # with one of these it is refused, after `requests`; empty: it is not
    unfinished: bool = False          # more bytes would be needed: nothing but `requests` may come of it
    closes: bool = False              # the client asks to close after it

    @property
    def undecided(self):
        return self.requests is None


class ResponseCase(typing.NamedTuple):
    """Bytes of a backend and what the client must make of them."""
    name: str
    data: bytes
    verdict: str                      # "pass", "502", "cut", or "" when only the parsers decide
    status: int = 0
    body: bytes = b""
    method: bytes = b"GET"
    then: str = "hold"                # the backend after its bytes: "hold" the connection, "close" or "reset" it
    reused: bool = True               # whether the backend's connection may carry another request
    interim: tuple = ()               # statuses of the 1xx before
    cuttable: bool = True             # may be sent in pieces


def label(data):
    """Bytes as part of a name."""
    text = data.decode("latin-1").encode("unicode_escape").decode()
    return text if len(text) <= 60 else f"{text[:50]}...{len(text)}"


def refuse(name, data, *statuses, before=()):
    return Case(name, data, tuple(before), statuses or (400,))


def accept(name, data, *requests, closes=False):
    return Case(name, data, requests, closes=closes)


def unfinished(name, data, *requests):
    return Case(name, data, requests, unfinished=True)


def undecided(name, data):
    return Case(name, data, None)


def responded(name, data, verdict, **rest):
    return ResponseCase(name, data, verdict, **rest)
