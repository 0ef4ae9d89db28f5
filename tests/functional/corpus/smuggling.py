"""Shapes of request smuggling as the public literature describes them, written anew.

Each carries a second request (INNER) where one reader sees a body and another the next message. Most must be refused;
those that are well-formed and only look odd are in `harmless`, with the one right reading.
"""
from corpus.cases import CHUNKED, END, GET, HOST, INNER, POST, accept, label, refuse

LAST = b"0\r\n\r\n"
INNER_READ = (b"GET", b"/smuggled", b"")  # as a request of its own, sent openly: nothing is smuggled then

# A reader that takes the length, before one that takes the chunks, and the other way round.
CL_TE = {
    "classic": POST + HOST + b"Content-Length: 44\r\n" + CHUNKED + END + LAST + INNER,
    "prefix": POST + HOST + b"Content-Length: 6\r\n" + CHUNKED + END + LAST + b"G",
    "zero": POST + HOST + b"Content-Length: 0\r\n" + CHUNKED + END + b"2c\r\n" + INNER + END + LAST,
    "te-cl": POST + HOST + CHUNKED + b"Content-Length: 4\r\n\r\n2c\r\n" + INNER + END + LAST,
    "te-cl-prefix": POST + HOST + CHUNKED + b"Content-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n" + LAST,
    "two-lengths": POST + HOST + b"Content-Length: 0\r\nContent-Length: 39\r\n\r\n" + INNER,
    "two-lengths-other": POST + HOST + b"Content-Length: 39\r\nContent-Length: 0\r\n\r\n" + INNER,
    "one-header-two-lengths": POST + HOST + b"Content-Length: 0, 39\r\n\r\n" + INNER,
    "get-cl-te": GET + HOST + b"Content-Length: 5\r\n" + CHUNKED + END + LAST + INNER,
    "head-cl-te": b"HEAD / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n" + CHUNKED + END + LAST + INNER,
    "1.0-te": b"POST /p HTTP/1.0\r\n" + HOST + CHUNKED + b"Connection: keep-alive\r\n\r\n" + LAST + INNER,
    "1.0-cl-te": b"POST /p HTTP/1.0\r\n" + HOST + CHUNKED + b"Content-Length: 5\r\nConnection: keep-alive\r\n\r\n" + LAST + INNER,
    "connection-names-length-and-both": POST + HOST + b"Connection: Content-Length\r\nContent-Length: 5\r\n" + CHUNKED + END + LAST + INNER,
    "connection-names-encoding-and-both": POST + HOST + b"Connection: Transfer-Encoding\r\n" + CHUNKED + b"Content-Length: 5\r\n\r\n" + LAST + INNER,
}

# Ways to write Transfer-Encoding so that one reader of two does not see it; beside each a Content-Length.
OBFUSCATED = [
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:\x0cchunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", b" Transfer-Encoding: chunked",
    b"X: X\nTransfer-Encoding: chunked", b"Transfer-Encoding\n : chunked", b"Transfer-Encoding\r\n : chunked",
    b"Transfer-Encoding: \r\n chunked",
    b"transfer-encoding: chunked\r\nTRANSFER-ENCODING: identity", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunked;",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:  chunked", b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding: chunked\t", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Foo: bar\r\n\tTransfer-Encoding: chunked",
    b"Transfer-Encoding\0: chunked", b"Transfer-Encoding: \0chunked", b"Transfer-Encoding: chunked\0",
    b"\0Transfer-Encoding: chunked", b"Transfer-\nEncoding: chunked",
    b"Transfer-Encoding:\n chunked", b"Transfer-Encoding: \xffchunked", b"Transfer-Encoding: chunked\xff",
    b"\xa0Transfer-Encoding: chunked", b"Transfer-Encoding\x7f: chunked",
    b"Transfer\\-Encoding: chunked", b"Transfer-Encoding: chunked\rX: y", b"Transfer-Encoding: chunked\nX: y",
    b"X: y\rTransfer-Encoding: chunked", b"Transfer-Encoding:: chunked",
    b"Transfer-Encoding: ch\xc3\xbcnked", b"Transfer-Encoding: chunked\r\n\r", b"TE: x\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked \r \n",
]

OPEN_CHUNKS = {
    "bare-semicolon": b"3;\r\nabc\r\n",
    "lf-ends-size": b"3\nabc\r\n",
    "lf-in-extension": b"3;a\nb\r\nabc\r\n",
    "cr-in-extension": b"3;a\rb\r\nabc\r\n",
    "two-any-bytes-end": b"3\r\nabcXX",
    "no-end": b"3\r\nabc",
    "0x-size": b"0x3\r\nabc\r\n",
    "underscore-size": b"0_3\r\nabc\r\n",
    "plus-size": b"+3\r\nabc\r\n",
    "minus-size": b"-3\r\nabc\r\n",
    "space-size": b" 3\r\nabc\r\n",
    "size-space": b"3 \r\nabc\r\n",
    "wrapped-size-64": b"10000000000000003\r\nabc\r\n",
    "quoted-lf": b"3;a=\"\n\"\r\nabc\r\n",
    "quoted-crlf": b"3;a=\"\r\n\"\r\nabc\r\n",
    "cr-before-crlf": b"3\r\r\nabc\r\n",
    "spill": b"2\r\nabc\r\n",
    "empty-size": b"\r\nabc\r\n",
    "semicolon-size": b";3\r\nabc\r\n",
}

TRAILED = {
    "trailer-length": b"0\r\nContent-Length: 39\r\n\r\n",
    "trailer-encoding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer-host": b"0\r\nHost: evil\r\n\r\n",
    "trailer-fold": b"0\r\nX: y\r\n Content-Length: 39\r\n\r\n",
    "trailer-lf": b"0\r\nX: y\nContent-Length: 39\r\n\r\n",
    "trailer-no-colon": b"0\r\nX\r\n\r\n",
    "lf-lf": b"0\n\n",
    "crlf-lf": b"0\r\n\n",
    "cr-x": b"0\r\n\rX",
    "trailer-request": b"0\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n",
    "trailer-authorization": b"0\r\nAuthorization: Basic eDp5\r\n\r\n",
}

# What is sent behind a message that is refused must never be served: the connection is over.
REFUSED = {
    "no-host": GET + END,
    "two-hosts": GET + HOST + b"Host: i\r\n\r\n",
    "bad-version": b"GET / HTTP/2.0\r\n" + HOST + END,
    "connect": b"CONNECT h:443 HTTP/1.1\r\n" + HOST + END,
    "expect": POST + HOST + b"Content-Length: 39\r\nExpect: x\r\n\r\n",
    "stacked-coding": POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "fold": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "lf-head": b"GET / HTTP/1.1\nHost: h\n\n",
    "too-large": GET + HOST + b"X: " + b"a" * 33000 + b"\r\n\r\n",
    "bad-target": b"GET /# HTTP/1.1\r\n" + HOST + END,
    "0.9": b"GET /\r\n\r\n",
}


def harmless():
    """Well-formed, whatever they look like: one right reading each."""
    n = len(INNER)
    body = (b"POST", b"/p", INNER)
    yield accept("harmless/request-in-length-body", POST + HOST + b"Content-Length: %d\r\n\r\n" % n + INNER, body)
    yield accept("harmless/request-in-chunk", POST + HOST + CHUNKED + END + b"%x\r\n" % n + INNER + b"\r\n" + LAST, body)
    yield accept("harmless/request-in-get-body", GET + HOST + b"Content-Length: %d\r\n\r\n" % n + INNER, (b"GET", b"/", INNER))
    yield accept("harmless/request-in-head-body", b"HEAD / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % n + INNER,
                 (b"HEAD", b"/", INNER))
    yield accept("harmless/request-in-delete-body",
                 b"DELETE / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % n + INNER, (b"DELETE", b"/", INNER))
    yield accept("harmless/request-in-options-chunk",
                 b"OPTIONS * HTTP/1.1\r\n" + HOST + CHUNKED + END + b"%X\r\n" % n + INNER + b"\r\n" + LAST,
                 (b"OPTIONS", b"*", INNER))
    yield accept("harmless/length-zero-then-request", POST + HOST + b"Content-Length: 0\r\n\r\n" + INNER,
                 (b"POST", b"/p", b""), INNER_READ)
    yield accept("harmless/last-chunk-then-request", POST + HOST + CHUNKED + END + LAST + INNER, (b"POST", b"/p", b""),
                 INNER_READ)
    yield accept("harmless/chunk-end-in-body", POST + HOST + CHUNKED + END + b"5\r\n" + LAST + b"\r\n" + LAST,
                 (b"POST", b"/p", LAST))
    yield accept("harmless/upgrade-ignored", GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + INNER,
                 (b"GET", b"/", b""), INNER_READ)
    yield accept("harmless/h2c-ignored",
                 GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + INNER,
                 (b"GET", b"/", b""), INNER_READ)
    yield accept("harmless/upgrade-with-body",
                 POST + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n" % n + INNER, body)
    yield accept("harmless/connection-names-length",
                 POST + HOST + b"Connection: Content-Length\r\nContent-Length: %d\r\n\r\n" % n + INNER, body)
    yield accept("harmless/connection-names-host", GET + HOST + b"Connection: Host\r\n\r\n", (b"GET", b"/", b""))
    yield accept("harmless/connection-names-encoding",
                 POST + HOST + b"Connection: Transfer-Encoding\r\n" + CHUNKED + END + LAST, (b"POST", b"/p", b""))
    yield accept("harmless/underscore-length", POST + HOST + b"Content_Length: %d\r\n\r\n" % n + INNER, (b"POST", b"/p", b""),
                 INNER_READ)
    yield accept("harmless/underscore-encoding",
                 POST + HOST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + LAST, (b"POST", b"/p", LAST))
    yield accept("harmless/dotted-encoding", POST + HOST + b"Transfer.Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + LAST,
                 (b"POST", b"/p", LAST))
    yield accept("harmless/x-length", POST + HOST + b"X-Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + LAST,
                 (b"POST", b"/p", LAST))
    yield accept("harmless/length-prefix-name", POST + HOST + b"Content-Lengths: 0\r\nContent-Length: 5\r\n\r\n" + LAST,
                 (b"POST", b"/p", LAST))
    yield accept("harmless/length-in-value", POST + HOST + b"X: Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + LAST,
                 (b"POST", b"/p", LAST))
    yield accept("harmless/obfuscated-method-override",
                 POST + HOST + b"X-HTTP-Method-Override: PUT\r\nContent-Length: 0\r\n\r\n", (b"POST", b"/p", b""))
    yield accept("harmless/close-then-request", GET + HOST + b"Connection: close\r\n\r\n" + INNER, (b"GET", b"/", b""),
                 closes=True)
    yield accept("harmless/1.0-then-request", b"GET / HTTP/1.0\r\n" + HOST + END + INNER, (b"GET", b"/", b""), closes=True)
    yield accept("harmless/expect-then-body", POST + HOST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % n + INNER,
                 body)
    yield accept("harmless/absolute-other-host", b"GET http://other/x HTTP/1.1\r\n" + HOST + END, (b"GET", b"/x", b""))
    yield accept("harmless/twenty", b"".join(b"GET /%d HTTP/1.1\r\n" % i + HOST + END for i in range(20)),
                 *[(b"GET", b"/%d" % i, b"") for i in range(20)])
    yield accept("harmless/twenty-posts",
                 b"".join(b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n" % (i, i) + HOST + END + b"x" * i for i in range(20)),
                 *[(b"POST", b"/%d" % i, b"x" * i) for i in range(20)])
    yield accept("harmless/alternating", (POST + HOST + CHUNKED + END + b"3\r\nabc\r\n" + LAST + GET + HOST + END) * 5,
                 *[(b"POST", b"/p", b"abc"), (b"GET", b"/", b"")] * 5)


def cases():
    found = []
    for name, data in CL_TE.items():
        found.append(refuse(f"smuggle/cl-te/{name}", data, 400, 501))
        found.append(refuse(f"smuggle/cl-te-second/{name}", GET + HOST + END + data, 400, 501, before=[(b"GET", b"/", b"")]))
    for line in OBFUSCATED:
        for order in ("before", "after"):
            length = b"Content-Length: 5\r\n"
            framing = length + line + END if order == "before" else line + END + length
            found.append(refuse(f"smuggle/hidden-encoding/{label(line)}/{order}", POST + HOST + framing + END + LAST + INNER,
                         400, 501))
    for name, part in OPEN_CHUNKS.items():
        found.append(refuse(f"smuggle/chunk/{name}", POST + HOST + CHUNKED + END + part + LAST + INNER))
        found.append(refuse(f"smuggle/chunk-get/{name}", GET + HOST + CHUNKED + END + part + LAST + INNER))
    for name, part in TRAILED.items():
        found.append(refuse(f"smuggle/last/{name}", POST + HOST + CHUNKED + END + b"3\r\nabc\r\n" + part + INNER))
    for name, data in REFUSED.items():
        found.append(refuse(f"smuggle/behind/{name}", data + INNER, 400, 417, 431, 501, 505))
        found.append(refuse(f"smuggle/between/{name}", GET + HOST + END + data + INNER, 400, 417, 431, 501, 505,
                     before=[(b"GET", b"/", b"")]))
    return found + list(harmless())
