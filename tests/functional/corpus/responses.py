"""What backends answer: broken and hostile answers, and well-formed odd ones that must pass byte for byte."""
from corpus import chunks, framing
from corpus.cases import CONTROLS, NO_TOKEN_BYTES, label, responded

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
ABC = b"Content-Length: 3\r\n\r\nabc"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nX-Saw: poison\r\nContent-Length: 6\r\n\r\npoison"  # nobody may ever get this one

STATUS_LINES = [
    b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 2", b"HTTP/1.1 20", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 0200 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 600 OK",
    b"HTTP/1.1 999 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1 OK 200",
    b"HTTP/1.1 OK", b"HTTP/1.1 200OK", b"HTTP/1.1 200-OK", b"HTTP/1.1 200, OK",
    b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200.0 OK", b"HTTP/1.1 0x200 OK",
    b"HTTP/1.1 2 00 OK", b"HTTP/1.1 \xb200 OK", b" HTTP/1.1 200 OK", b"\tHTTP/1.1 200 OK",
    b"HTTP/1.1200 OK", b"HTTP/1.1/200 OK", b"http/1.1 200 OK", b"Http/1.1 200 OK", b"HTTPS/1.1 200 OK", b"HTTP 200 OK",
    b"HTTP/ 200 OK", b"HTTP/1 200 OK", b"HTTP/1. 200 OK", b"HTTP/.1 200 OK",
    b"HTTP/0.9 200 OK", b"HTTP/2 200", b"HTTP/2.0 200 OK", b"HTTP/3.0 200 OK", b"HTTP/1.10 200 OK", b"HTTP/1.01 200 OK",
    b"HTTP/11.1 200 OK", b"HTTP/1,1 200 OK", b"HTTP/x.y 200 OK", b"HTTP/1.x 200 OK",
    b"HTTP\\1.1 200 OK", b"ICY 200 OK", b"RTSP/1.0 200 OK", b"SIP/2.0 200 OK", b"200 OK", b"GET / HTTP/1.1", b"<html>",
    b"{\"a\": 1}", b"hello", b"SSH-2.0-x", b"220 mail ESMTP", b"+OK", b"-ERR", b"* OK",
    b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x01", b"\0", b"\xff\xff", b"Status: 200 OK", b"Content-Type: text/html",
    b"HTTP/1.1: 200 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK",
    b"\nHTTP/1.1 200 OK", b"\r\n\r\nHTTP/1.1 200 OK", b"XHTTP/1.1 200 OK", b"HTTP/1.1\r\n200 OK", b"HTTP/1.1 200\nOK",
    b"HTTP/1.1 200\rOK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 OK\r",
]

HEADER_LINES = [
    b"X : y", b"X\t: y", b" X: y", b"\tX: y", b": y", b":", b"X", b"X y", b"X Y: z", b"(X): y", b"X;: y", b"X=: y",
    b"\"X\": y", b"X\xc3\xa9: y", b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\nY: b", b"X: a\rY: b", b"X: a\r\rY: b", b"X: a\r\r",
    b"HTTP/1.1 200 OK", b"GET / HTTP/1.1", b"<html>", b"{}", b"X: a\n b", b"Set-Cookie : a=b", b"Content-Length : 3",
    b" Content-Length: 3", b"Content-Length\0: 3", b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
    b"Connection: a b", b"Connection: \"close\"", b"Connection: close; x", b"Upgrade: a b", b"X: y\n", b"X: y\r\n ",
    b"[X]: y", b"X/Y: z", b"X@Y: z", b"{X}: y", b"X\\: y", b"\xffX: y", b"X,Y: z", b"X?: y", b"X<: y",
]

# Bodies of nothing where a body is announced or comes, and the other way round.
INTERIM = {
    "101-unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "101-unasked-then-poison": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + POISON,
    "101-without-upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "101-without-connection": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "101-h2c": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "100-with-length": b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc",
    "100-chunked": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "103-with-length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc" + OK + EMPTY,
    "103-two-lengths": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" + OK + EMPTY,
}

REASONS = [
    b"OK", b"", b" ", b"  ", b"Quite Fine", b"ok", b"\t", b"a\tb", b"\xc3\xa9t\xc3\xa9", b"\xff\xfe", b"200 OK",
    b"HTTP/1.1 200 OK", b"<b>", b"\"", b"\\", b":", b"a: b", b"x" * 2000, b"%0d%0a", b" two  spaces ",
]

HEADERS = [
    b"X:", b"X: ", b"X:y", b"X:\ty", b"x-Odd-CASE: y", b"X: y\r\nX: y", b"X: 2\r\nX: 1\r\nx: 3",
    b"Set-Cookie: a=b\r\nSet-Cookie: c=d; Expires=Wed, 01 Jan 2020 00:00:00 GMT", b"set-cookie: \"a, b\"", b"X: \x80\xff",
    b"X: \xc3\xa9", b"X: a\tb",
    b"X_Y: z", b"_: x", b"!#$%&'*+-.^_`|~: x", b"Server: odd (x)\r\nserver: two", b"Date: never", b"Date: a\r\nDate: b",
    b"Content-Type: ;;", b"Content-Encoding: gzip", b"ETag: W/\"x\"", b"Link: </a>; rel=preload\r\nLink: </b>",
    b"Location: \\\\h\\p",
    b"Location: http://h/\xc3\xa9", b"Vary: *", b"Via: 1.0 a", b"Age: -1", b"Warning: 110", b"Content-Range: bytes 0-0/1",
    b"Accept-Ranges: none", b"Allow:", b"Retry-After: x", b"WWW-Authenticate: Basic\r\nWWW-Authenticate: Digest a=\"b\"",
    b"Strict-Transport-Security: max-age=0", b"X: " + b"y" * 8000, b"X" * 4000 + b": y", b"A: 1\r\nB: 2\r\nC: 3\r\nA: 4",
    b"Trailer: X", b"Host: h", b"Expect: x", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Upgrade: websocket",
    b"Connection: keep-alive", b"Connection: X-Hop\r\nX-Hop: gone\r\nX-Stay: here", b"Connection: Content-Length",
    b"Connection:", b"Connection: , ,", b"TE: trailers", b"X-Accel-Buffering: no", b"Refresh: 0", b"Status: 404 Not Found",
    b"Cookie: a", b"Alt-Svc: h2=\":443\"",
    b"Content-Disposition: attachment; filename=\"a\\\"b\"", b"Content-Security-Policy: default-src 'self'; script-src *",
    b"0: 0", b"X: :", b"X: ::", b"X: ,", b"X: HTTP/1.1 200 OK",
]


def broken():
    for line in STATUS_LINES:
        yield responded(f"status-line/{label(line)}", line + b"\r\n" + EMPTY, "502")
    for byte in CONTROLS:
        b = bytes([byte])
        if byte != 0x09:
            yield responded(f"reason-byte/{byte:02x}", b"HTTP/1.1 200 O" + b + b"K\r\n" + EMPTY, "502")
        yield responded(f"version-byte/{byte:02x}", b"HTTP/1." + b + b"1 200 OK\r\n" + EMPTY, "502")
        yield responded(f"status-byte/{byte:02x}", b"HTTP/1.1 2" + b + b"0 OK\r\n" + EMPTY, "502")
    for byte in NO_TOKEN_BYTES:
        if byte != 0x3a:
            yield responded(f"name-byte/{byte:02x}", OK + b"X%cY: z\r\n" % byte + EMPTY, "502")
    for line in HEADER_LINES:
        yield responded(f"header/{label(line)}/first", OK + line + b"\r\n" + EMPTY, "502")
        yield responded(f"header/{label(line)}/last", OK + b"Content-Length: 0\r\n" + line + b"\r\n\r\n" + POISON, "502")
    for name, data in INTERIM.items():
        yield responded(f"interim/{name}", data, "502")
        if not name.startswith("101"):
            yield responded(f"interim/{name}/close", data, "502", then="close")
    for end in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\r\n\n", b"\r\n\rX\r\n"):
        yield responded(f"line-end/status/{label(end)}", b"HTTP/1.1 200 OK" + end + EMPTY, "502")
        yield responded(f"line-end/header/{label(end)}", OK + b"Content-Length: 0" + end + b"X: y\r\n\r\n", "502")
        yield responded(f"line-end/head/{label(end)}", OK + b"Content-Length: 3" + end + b"abc\r\n\r\n", "502")


def control_bytes():
    """In a value that means nothing to a proxy they pass as they are, unless somebody could take one for the end of a line."""
    for byte in CONTROLS:
        b = bytes([byte])
        if byte != 0x09:
            verdict = "502" if byte in b"\0\n\v\f\r\x1c\x1d\x1e" else "pass"
            yield responded(f"value-byte/{byte:02x}", OK + b"X: a" + b + b"b\r\n" + EMPTY, verdict, status=200)
            yield responded(f"cookie-byte/{byte:02x}", OK + b"Set-Cookie: a=" + b + b"b\r\n" + EMPTY, verdict, status=200)
            for name in (b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade"):
                yield responded(f"known-byte/{label(name)}/{byte:02x}", OK + name + b": " + b + b"\r\n" + ABC, "502")


def misframed():
    for value in framing.LENGTHS:
        yield responded(f"length/{label(value)}", OK + b"Content-Length: " + value + b"\r\n\r\nabc", "502")
    for a, b in framing.DOUBLE_LENGTHS:
        yield responded(f"lengths/{label(a)}/{label(b)}",
                        OK + b"Content-Length: " + a + b"\r\nContent-Length: " + b + b"\r\n\r\nabc" + POISON, "502")
    for value in framing.ENCODINGS + framing.STACKED:
        yield responded(f"encoding/{label(value)}", OK + b"Transfer-Encoding: " + value + b"\r\n\r\n3\r\nabc\r\n" + LAST, "502")
    for a, b in framing.DOUBLE_ENCODINGS:
        yield responded(f"encodings/{label(a)}/{label(b)}",
                        OK + b"Transfer-Encoding: " + a + b"\r\nTransfer-Encoding: " + b + b"\r\n\r\n" + LAST, "502")
    for length in (b"0", b"3", b"5", b"x", b""):
        for encoding in (b"chunked", b"identity", b"gzip", b""):
            yield responded(f"both/{label(length)}/{label(encoding)}",
                            OK + b"Content-Length: " + length + b"\r\nTransfer-Encoding: " + encoding + b"\r\n\r\n" + LAST + POISON,
                            "502")
            yield responded(f"both-turned/{label(length)}/{label(encoding)}",
                            OK + b"Transfer-Encoding: " + encoding + b"\r\nContent-Length: " + length + b"\r\n\r\n" + LAST + POISON,
                            "502")
    for value in (b"chunked", b"gzip", b"identity"):
        yield responded(f"encoding-1.0/{label(value)}",
                        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: " + value + b"\r\n\r\n" + LAST, "502")


def broken_chunks():
    """The head is out before the chunk comes: the client's connection ends without a last chunk."""
    def cut(name, body, **rest):
        return responded(name, CHUNKED + body, "cut", status=200, **rest)
    for size in chunks.SIZES:
        yield cut(f"chunk/size/{label(size)}", size + b"\r\nabc\r\n" + LAST + POISON)
    for extension in chunks.EXTENSIONS:
        yield cut(f"chunk/extension/{label(extension)}", b"3" + extension + b"\r\nabc\r\n" + LAST + POISON)
    for end in chunks.CHUNK_ENDS:
        yield cut(f"chunk/end/{label(end)}", b"3\r\nabc" + end + LAST + POISON)
    for end in chunks.LINE_ENDS:
        yield cut(f"chunk/line-end/{label(end)}", b"3" + end + b"abc\r\n" + LAST + POISON)
    for last in chunks.LAST_CHUNKS:
        yield cut(f"chunk/last/{label(last)}", b"3\r\nabc\r\n" + last + POISON)
    for trailer in chunks.TRAILERS:
        yield cut(f"trailer/{label(trailer)}", b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n" + POISON)


def ended_early():
    whole = OK + b"X: y\r\n" + ABC
    head = whole.index(b"\r\n\r\n") + 4
    for at in range(len(whole)):
        for then in ("close", "reset"):
            verdict = "502" if at < head else "cut"
            yield responded(f"ended/length/{at}/{then}", whole[:at], verdict, status=200, then=then)
    body = b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\nX: y\r\n\r\n"
    for at in range(len(body)):
        yield responded(f"ended/chunked/{at}/close", CHUNKED + body[:at], "cut", status=200, then="close")
    for data in (b"", b"abc", b"x" * 20000):
        yield responded(f"ended/until-close/{len(data)}/reset", OK + b"\r\n" + data, "cut", status=200, then="reset")


def surplus():
    """Right answers with more behind them: they pass, and their connection is never used again."""
    behind = {"poison": POISON, "byte": b"x", "crlf": b"\r\n", "nul": b"\0", "chunk-end": LAST, "head": OK, "much": b"y" * 20000}
    for what, extra in behind.items():
        yield responded(f"surplus/length/{what}", OK + ABC + extra, "pass", status=200, body=b"abc", reused=False,
                        cuttable=False)
        yield responded(f"surplus/empty/{what}", OK + EMPTY + extra, "pass", status=200, reused=False, cuttable=False)
        yield responded(f"surplus/chunked/{what}", CHUNKED + b"3\r\nabc\r\n" + LAST + extra, "pass", status=200, body=b"abc",
                        reused=False, cuttable=False)
        yield responded(f"surplus/head/{what}", OK + ABC[:-3] + extra, "pass", status=200, method=b"HEAD", reused=False,
                        cuttable=False)
        yield responded(f"surplus/304/{what}", b"HTTP/1.1 304 Not Modified\r\n\r\n" + extra, "pass", status=304, reused=False,
                        cuttable=False)
        yield responded(f"surplus/204/{what}", b"HTTP/1.1 204 No Content\r\n\r\n" + extra, "pass", status=204, reused=False,
                        cuttable=False)
        yield responded(f"surplus/103/{what}", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + ABC + extra, "pass", status=200,
                        body=b"abc", interim=(103,), reused=False, cuttable=False)
    yield responded("surplus/204-with-body", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nnull", "pass", status=204,
                    reused=False, cuttable=False)
    yield responded("surplus/head-with-body", OK + ABC, "pass", status=200, method=b"HEAD", reused=False, cuttable=False)
    yield responded("surplus/304-with-body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc", "pass", status=304,
                    reused=False, cuttable=False)


def wellformed():
    def good(name, data, status=200, **rest):
        return responded(f"well/{name}", data, "pass", status=status, **rest)
    for reason in REASONS:
        yield good(f"reason/{label(reason)}", b"HTTP/1.1 200 " + reason + b"\r\n" + ABC, body=b"abc")
    for status in (*range(200, 209), 226, 299, *range(300, 304), 305, 306, 307, 308, 399, *range(400, 419), 421, 422, 423,
                   424, 425, 426, 428, 429, 431, 444, 451, 499, *range(500, 512), 520, 599):
        if status not in (204, 304):
            yield good(f"status/{status}", b"HTTP/1.1 %d Some Reason\r\n" % status + ABC, status=status, body=b"abc")
    for line in HEADERS:
        yield good(f"header/{label(line)}", OK + line + b"\r\n" + ABC, body=b"abc")
    for line in chunks_lines():
        yield good(f"chunk/{label(line)}", CHUNKED + line + b"\r\nabc\r\n" + LAST, body=b"abc")
    for name, data, rest in (
            ("no-reason", b"HTTP/1.1 200\r\n" + ABC, dict(body=b"abc")),
            ("1.2", b"HTTP/1.2 200 OK\r\n" + ABC, dict(body=b"abc")),
            ("1.0", b"HTTP/1.0 200 OK\r\n" + ABC, dict(body=b"abc", reused=False)),
            ("1.0-keep-alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + ABC, dict(body=b"abc")),
            ("1.0-until-close", b"HTTP/1.0 200 OK\r\n\r\nabc", dict(body=b"abc", then="close")),
            ("close", OK + b"Connection: close\r\n" + ABC, dict(body=b"abc", reused=False)),
            ("close-list", OK + b"Connection: x, Close\r\n" + ABC, dict(body=b"abc", reused=False)),
            ("until-close", OK + b"\r\nabc", dict(body=b"abc", then="close")),
            ("until-close-empty", OK + b"\r\n", dict(then="close")),
            ("until-close-poison", OK + b"\r\n" + POISON, dict(body=POISON, then="close")),
            ("until-close-long", OK + b"\r\n" + b"x" * 100000, dict(body=b"x" * 100000, then="close")),
            ("204", b"HTTP/1.1 204 No Content\r\n\r\n", dict(status=204)),
            ("204-length-0", b"HTTP/1.1 204 No Content\r\n" + EMPTY, dict(status=204)),
            ("304", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", dict(status=304)),
            ("304-length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", dict(status=304)),
            ("head", OK + b"Content-Length: 12345\r\n\r\n", dict(method=b"HEAD")),
            ("head-chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n", dict(method=b"HEAD")),
            ("head-nothing", OK + b"\r\n", dict(method=b"HEAD")),
            ("length-zeros", OK + b"Content-Length: 0003\r\n\r\nabc", dict(body=b"abc")),
            ("encoding-case", OK + b"transfer-encoding:\tCHUNKED\t\r\n\r\n3\r\nabc\r\n" + LAST, dict(body=b"abc")),
            ("chunked-empty", CHUNKED + LAST, {}),
            ("chunked-long", CHUNKED + b"186a0\r\n" + b"x" * 100000 + b"\r\n" + LAST, dict(body=b"x" * 100000)),
            ("chunks-of-one", CHUNKED + b"1\r\nx\r\n" * 1000 + LAST, dict(body=b"x" * 1000)),
            ("trailers", CHUNKED + b"3\r\nabc\r\n0\r\nServer-Timing: a;dur=1\r\nX: y\r\n\r\n", dict(body=b"abc")),
            ("100", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + ABC, dict(body=b"abc", interim=(100,))),
            ("103-twice", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + OK + ABC, dict(body=b"abc", interim=(103, 103))),
            ("102-103-100", b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + OK + ABC, dict(body=b"abc", interim=(102, 103, 100))),
            ("199", b"HTTP/1.1 199 Odd\r\nContent-Length: 0\r\n\r\n" + OK + ABC, dict(body=b"abc", interim=(199,))),
            ("426", b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + ABC, dict(status=426, body=b"abc")),
            ("99-headers", OK + b"X: y\r\n" * 99 + ABC, dict(body=b"abc")),
            ("body-is-an-answer", OK + b"Content-Length: %d\r\n\r\n" % len(POISON) + POISON, dict(body=POISON)),
            ("body-is-a-chunk", CHUNKED + b"5\r\n" + LAST + b"\r\n" + LAST, dict(body=LAST)),
            ("body-of-nul", OK + b"Content-Length: 3\r\n\r\n\0\0\0", dict(body=b"\0\0\0"))):
        yield good(name, data, **rest)


def chunks_lines():
    from corpus.wellformed import CHUNK_LINES
    return CHUNK_LINES


def cases():
    return [*broken(), *control_bytes(), *misframed(), *broken_chunks(), *ended_early(), *surplus(), *wellformed()]
