"""Unusual and right: what RFC 9110 and 9112 allow, or every browser sends, is never refused, and read as it was meant."""
from corpus.cases import CHUNKED, END, GET, HOST, POST, TOKEN_BYTES, accept, label

LAST = b"0\r\n\r\n"

METHODS = [
    b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE",
    b"LOCK", b"UNLOCK", b"SEARCH", b"REPORT", b"BIND", b"ACL",
    b"MERGE", b"CHECKOUT", b"MKACTIVITY", b"M-SEARCH", b"NOTIFY", b"SUBSCRIBE", b"UNSUBSCRIBE", b"PURGE", b"BAN", b"LINK",
    b"UNLINK", b"QUERY", b"SOURCE", b"DESCRIBE", b"PRI", b"FOO",
    b"get", b"Post", b"X", b"a", b"-", b"CONNECTED", b"CONNEC", b"connect", b"GETT", b"A" * 64, b"_", b"!#$%&'*+-.^_`|~",
    b"0", b"HTTP", b"VERSION-CONTROL", b"BASELINE-CONTROL", b"UPDATEREDIRECTREF",
]

PATHS = [
    b"/", b"//", b"///", b"/.", b"/..", b"/../..", b"/./", b"/a//b", b"/a/../b", b"/%2e%2e/", b"/%2F", b"/%41", b"/%", b"/%%",
    b"/%zz", b"/%4", b"/100%", b"/a%20b", b"/+", b"/a+b",
    b"/;", b"/a;b=c;d", b"/a,b", b"/a:b", b"/:80", b"/@", b"/u@h", b"/~u", b"/$", b"/!", b"/&", b"/'", b"/()", b"/*", b"/=",
    b"/_", b"/-", b"/|", b"/^", b"/[1]", b"/a]", b"/http://h/",
    b"/*/*", b"/%0d%0a", b"/%0a", b"/%7f", b"/%ff", b"/%c3%a9", b"/%E2%82%AC", b"/%01", b"/%2500", b"/?", b"/??", b"/?a",
    b"/?a=b&c=d", b"/?a=b;c", b"/?/", b"/?a?b", b"/?%00", b"/?%",
    b"/?[]=1", b"/?a[b]={c}", b"/?{}", b"/?|", b"/?`", b"/?\\", b"/?^", b"/?'", b"/?~", b"/?http://h/p?q", b"/?@", b"/?:",
    b"/?,", b"/?;", b"/?a=%zz", b"//h/p", b"//evil.example", b"/" + b"a" * 8000,
    b"/?" + b"b" * 8000, b"/HTTP/1.1", b"/GET", b"/favicon.ico",
]

ABSOLUTE = [
    (b"http://h/", b"/"), (b"http://h", b"/"), (b"http://h?q", b"/?q"), (b"http://h/?q", b"/?q"), (b"http://h:80/a", b"/a"),
    (b"http://h:/a", b"/a"), (b"HTTP://h/a", b"/a"), (b"hTTp://H/a", b"/a"),
    (b"https://h/a", b"/a"), (b"https://h:443/a?b", b"/a?b"), (b"http://127.0.0.1:8080/a", b"/a"), (b"http://[::1]/a", b"/a"),
    (b"http://[2001:db8::1]:81/a?b", b"/a?b"),
    (b"http://a-b.c_d.example/a", b"/a"), (b"http://xn--9caa.example/", b"/"), (b"http://h//a", b"//a"),
    (b"http://h/http://i/", b"/http://i/"), (b"http://%61/", b"/"), (b"http://h:/p@x:99999/", b"/p@x:99999/"),
    (b"http://h;x/", b"/"),
]

HOSTS = [
    b"h", b"example.com", b"EXAMPLE.com", b"example.com.", b"a.b.c.d.e.f", b"h:1", b"h:80", b"h:65535", b"h:", b"h:00080",
    b"127.0.0.1", b"127.0.0.1:80", b"0", b"1.2.3.4.5", b"[::1]", b"[::1]:80", b"[::1]:",
    b"[::]", b"[2001:db8:0:0:0:0:0:1]", b"[::ffff:192.0.2.1]", b"[v1.x]", b"[vF.a:b]:8080", b"a_b", b"_dmarc.example", b"a-b",
    b"-a", b"xn--nxasmq6b", b"%41", b"a%20b", b"a!b", b"a$b", b"a&b", b"a'b", b"a*b",
    b"a+b", b"a;b", b"a=b", b"a~b", b"a(b)", b"h;", b"(h", b"*", b"localhost", b"a" * 253, b"..", b".",
]

VALUES = [
    b"", b" ", b"\t", b" \t ", b"a", b" a", b"a ", b"\ta\t", b"a b", b"a  b", b"a\tb", b"a\t\tb", b"\x80", b"\xff",
    b"\xc3\xa9", b"\xe2\x82\xac", b"a\xffb", b":", b"::", b"a:b", b"http://h/", b"\"", b"\"a",
    b"\"a\\\"", b"\\", b"(a", b"<a>", b"{a}", b"[a]", b"a,b", b"a;b", b",", b";", b"=", b"?", b"@", b"%00", b"%0d%0a",
    b"\\r\\n", b"GET / HTTP/1.1", b"Host: evil", b"Content-Length: 5", b"x" * 16000,
    b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0",
    b"W/\"x\"", b"*/*;q=0.8", b"' OR 1=1 --", b"$(id)", b"${jndi:ldap://h/}",
]

LENGTHS = [b"3", b"03", b"003", b"0" * 20 + b"3", b" 3", b"3 ", b"\t3\t", b"   3   "]

CONNECTIONS = [
    b"", b",", b" , ,", b"keep-alive", b"Keep-Alive", b"KEEP-ALIVE", b"keep-alive,", b",keep-alive", b"x", b"x, y, z", b"X-A",
    b"keep-alive, X-A", b"te", b"TE, X-A", b"upgrade", b"Upgrade", b"HTTP2-Settings", b"closed", b"not-close",
    b"Proxy-Connection", b"!#$%&'*+-.^_`|~", b"a,b,c,d,e,f,g,h,i,j", b"keep-alive, keep-alive", b"\tkeep-alive\t",
    b"Accept, Cookie", b"X-Request-ID", b"X-Forwarded-For",
]
CLOSES = [b"close", b"Close", b"CLOSE", b"close,", b",close", b"close, x", b"x,close", b"keep-alive, close",
          b"close, keep-alive", b"close\t", b"\tclose", b"close , close"]

# Sizes and extensions in front of the three bytes "abc".
CHUNK_LINES = [
    b"3", b"03", b"0003", b"0000000000000003", b"3;a", b"3;a=b", b"3;a=\"b\"", b"3;a=\"\"", b"3;a=\"b c\"", b"3;a=\"\\\"\"",
    b"3;a=\"\\\\\"", b"3;a=\"\t\"", b"3;a=\";\"", b"3;a=\"=,;\"", b"3;a=\"\xc3\xa9\"",
    b"3;a;b;c", b"3;a=b;c=d", b"3;a=b;c;d=\"e\"", b"3 ;a", b"3\t;a", b"3; a", b"3;\ta", b"3 ; a = b", b"3;a= b", b"3;a =b",
    b"3;a=b ;c", b"3;!#$%&'*+-.^_`|~=1", b"3;0=0", b"3;" + b"a" * 1000, b"3;a=\"" + b"b" * 1000 + b"\"",
]

TRAILERS = [
    b"X: y", b"X:", b"X: ", b"X:y", b"x-a: b\r\nx-c: d", b"X: y\r\nX: y", b"X: \xc3\xa9", b"X: a\tb",
    b"Server-Timing: a;dur=1", b"Digest: sha-256=x", b"Grpc-Status: 0", b"X_Y: z", b"ETag: \"x\"", b"X: " + b"y" * 8000,
    b"Expires: 0", b"X: :", b"!#$%&'*+-.^_`|~: x",
]

HEADS = {
    "host-last": GET + b"X: y\r\n" + HOST, "host-only": GET + HOST, "host-no-space": GET + b"Host:h\r\n",
    "host-tabs": GET + b"Host:\t\th\t\t\r\n", "host-upper": GET + b"HOST: h\r\n", "host-odd-case": GET + b"hOsT: h\r\n",
    "99-headers": GET + HOST + b"X: y\r\n" * 99, "long-names": GET + HOST + b"X" * 8000 + b": y\r\n",
    "no-value": GET + HOST + b"X:\r\nY:\r\nZ:\r\n",
    "same-name-often": GET + HOST + b"Cookie: a=b\r\n" * 20, "underscore": GET + HOST + b"X_Y: z\r\n_: x\r\n",
    "cookie-odd": GET + HOST + b"Cookie: a=\"b; c\"; =; ;;,\r\n",
    "te": GET + HOST + b"TE: trailers\r\n", "te-list": GET + HOST + b"TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n",
    "te-empty": GET + HOST + b"TE:\r\n", "trailer": GET + HOST + b"Trailer: X\r\n",
    "keep-alive": GET + HOST + b"Keep-Alive: timeout=5, max=100\r\n",
    "proxy-connection": GET + HOST + b"Proxy-Connection: close\r\n", "upgrade-alone": GET + HOST + b"Upgrade: websocket\r\n",
    "upgrade-list": GET + HOST + b"Connection: upgrade\r\nUpgrade: a/1, b, c/2.0\r\n",
    "upgrade-empty": GET + HOST + b"Connection: upgrade\r\nUpgrade:\r\n",
    "upgrade-h2c": GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings:\r\n",
    "upgrade-tls": GET + HOST + b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "expect-without-body": GET + HOST + b"Expect: 100-continue\r\n", "expect-empty": GET + HOST + b"Expect:\r\n",
    "version-1.2": b"GET / HTTP/1.2\r\n" + HOST, "version-1.9": b"GET / HTTP/1.9\r\n" + HOST,
    "empty-line-first": b"\r\n" + GET + HOST, "eight-empty-lines-first": b"\r\n" * 8 + GET + HOST,
    "forwarded": GET + HOST + b"Forwarded: for=\"[::1]:80\";proto=https\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a, b\r\nX-Real-IP: x\r\n",
    "traceparent-odd": GET + HOST + b"traceparent: x\r\ntracestate: y\r\n",
    "request-id-odd": GET + HOST + b"X-Request-ID: \xff a\r\n",
    "range": GET + HOST + b"Range: bytes=0-0,-1\r\nIf-Range: x\r\n",
    "authorization-long": GET + HOST + b"Authorization: Negotiate " + b"a" * 12000 + b"\r\n",
    "accept-odd": GET + HOST + b"Accept: */*,,;;q=\r\n", "date-odd": GET + HOST + b"Date: never\r\n",
    "content-type-odd": GET + HOST + b"Content-Type: ;;\r\n",
    "content-encoding": GET + HOST + b"Content-Encoding: gzip\r\n", "max-forwards": GET + HOST + b"Max-Forwards: -1\r\n",
    "via": GET + HOST + b"Via: 1.1 a, 1.0 b (c \\) d)\r\n",
}


def spell(name):
    return bytes(b ^ 0x20 if i % 2 and chr(b).isalpha() else b for i, b in enumerate(name))


def cases():
    get, found = (b"GET", b"/", b""), []
    for method in METHODS:
        found.append(accept(f"well/method/{label(method)}", method + b" /m HTTP/1.1\r\n" + HOST + END, (method, b"/m", b"")))
        found.append(accept(f"well/method-body/{label(method)}",
                     method + b" /m HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", (method, b"/m", b"abc")))
    found.append(accept("well/method/head", b"HEAD /m HTTP/1.1\r\n" + HOST + END, (b"HEAD", b"/m", b"")))
    found.append(accept("well/options-star", b"OPTIONS * HTTP/1.1\r\n" + HOST + END, (b"OPTIONS", b"*", b"")))
    found.append(accept("well/options-absolute", b"OPTIONS http://h HTTP/1.1\r\n" + HOST + END, (b"OPTIONS", b"*", b"")))
    for path in PATHS:
        found.append(accept(f"well/path/{label(path)}", b"GET " + path + b" HTTP/1.1\r\n" + HOST + END, (b"GET", path, b"")))
    for target, path in ABSOLUTE:
        found.append(accept(f"well/absolute/{label(target)}", b"GET " + target + b" HTTP/1.1\r\n" + HOST + END,
                     (b"GET", path, b"")))
    for host in HOSTS:
        found.append(accept(f"well/host/{label(host)}", GET + b"Host: " + host + END + END, get))
    for value in VALUES:
        found.append(accept(f"well/value/{label(value)}", GET + HOST + b"X:" + value + END + END, get))
    for byte in TOKEN_BYTES:
        found.append(accept(f"well/name/{byte:02x}", GET + HOST + b"%c: y\r\nX%c: z\r\n\r\n" % (byte, byte), get))
    for name, head in HEADS.items():
        found.append(accept(f"well/head/{name}", head + END, get))
    for value in CONNECTIONS:
        found.append(accept(f"well/connection/{label(value)}", GET + HOST + b"X-A: b\r\nConnection: " + value + END + END, get))
    for value in CLOSES:
        found.append(accept(f"well/close/{label(value)}", GET + HOST + b"Connection: " + value + END + END, get, closes=True))
    for value in LENGTHS:
        found.append(accept(f"well/length/{label(value)}", POST + HOST + b"Content-Length:" + value + b"\r\n\r\nabc",
                     (b"POST", b"/p", b"abc")))
    for value in (b"chunked", b" chunked", b"CHUNKED", b"Chunked", b"\tchunked\t", b"  chunked  "):
        found.append(accept(f"well/encoding/{label(value)}",
                     POST + HOST + spell(b"Transfer-Encoding") + b":" + value + END + END + b"3\r\nabc\r\n" + LAST,
                            (b"POST", b"/p", b"abc")))
    for line in CHUNK_LINES:
        found.append(accept(f"well/chunk/{label(line)}", POST + HOST + CHUNKED + END + line + b"\r\nabc\r\n" + LAST,
                     (b"POST", b"/p", b"abc")))
        found.append(accept(f"well/last-chunk/{label(line)}",
                     POST + HOST + CHUNKED + END + b"3\r\nabc\r\n" + line.replace(b"3", b"0", 1) + b"\r\n\r\n",
                            (b"POST", b"/p", b"abc")))
    for trailer in TRAILERS:
        found.append(accept(f"well/trailer/{label(trailer)}",
                     POST + HOST + CHUNKED + END + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n", (b"POST", b"/p", b"abc")))
    for value in (b"100-continue", b"100-Continue", b"100-continue, 100-continue", b",100-continue,", b"", b","):
        found.append(accept(f"well/expect/{label(value)}", POST + HOST + b"Expect: " + value + b"\r\nContent-Length: 3\r\n\r\nabc",
                            (b"POST", b"/p", b"abc")))
    for size in (1, 15, 16, 255, 4096, 16384, 40000):
        body = bytes(i * 31 % 256 for i in range(size))
        found.append(accept(f"well/body/{size}", POST + HOST + b"Content-Length: %d\r\n\r\n" % size + body,
                     (b"POST", b"/p", body)))
        found.append(accept(f"well/one-chunk/{size}", POST + HOST + CHUNKED + END + b"%x\r\n" % size + body + b"\r\n" + LAST,
                     (b"POST", b"/p", body)))
    body = bytes(range(256))
    found.append(accept("well/chunk-a-byte", POST + HOST + CHUNKED + END + b"".join(b"1\r\n%c\r\n" % b for b in body) + LAST,
                 (b"POST", b"/p", body)))
    one = (b"GET", b"/", b"")
    for name, lines in {"plain": HOST, "no-host": b"", "connection-close": HOST + b"Connection: close\r\n",
                        "expect": HOST + b"Expect: x\r\n", "te": HOST + b"TE: trailers\r\n"}.items():
        found.append(accept(f"well/1.0/{name}", b"GET / HTTP/1.0\r\n" + lines + END, one, closes=True))
    found.append(accept("well/1.0/keep-alive", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", one))
    found.append(accept("well/1.0/body", b"POST /p HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", (b"POST", b"/p", b"abc"),
                 closes=True))
    found.append(accept("well/crlf-after-post", POST + HOST + b"Content-Length: 3\r\n\r\nabc\r\n" + GET + HOST + END,
                 (b"POST", b"/p", b"abc"), one))
    return found
