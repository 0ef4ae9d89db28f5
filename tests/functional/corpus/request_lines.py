"""Request lines that are none: methods, targets, versions, blanks, other protocols."""
from corpus.cases import CONTROLS, END, GET, HOST, NO_TOKEN_BYTES, POST, label, refuse

REST = HOST + END
ANY = (400, 501, 505)

# Where a byte that does not belong there is put into "GET /path HTTP/1.1".
PLACES = {
    "in-method": b"G%bET /path HTTP/1.1",
    "after-method": b"GET%b /path HTTP/1.1",
    "instead-of-first-space": b"GET%b/path HTTP/1.1",
    "before-target": b"GET %b/path HTTP/1.1",
    "in-target": b"GET /pa%bth HTTP/1.1",
    "after-target": b"GET /path%b HTTP/1.1",
    "instead-of-second-space": b"GET /path%bHTTP/1.1",
    "in-version": b"GET /path HT%bTP/1.1",
    "before-dot": b"GET /path HTTP/1%b.1",
    "after-version": b"GET /path HTTP/1.1%b",
}

VERSIONS = [
    b"HTTP/0.9", b"HTTP/0.0", b"HTTP/2.0", b"HTTP/2", b"HTTP/3", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/1", b"HTTP/1.", b"HTTP/.1",
    b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/11.1", b"HTTP/1.1.1", b"HTTP/1,1", b"HTTP/1-1", b"HTTP/1:1", b"HTTP1.1",
    b"HTTP/-1.1", b"HTTP/+1.1", b"HTTP/1.+1", b"HTTP/1.-1", b"HTTP/1.x", b"HTTP/x.1", b"HTTP/a.b", b"HTTP/1.1a", b"HTTP/1.1;",
    b"HTTP/1.1,", b"HTTP/1.1HTTP/1.1", b"http/1.1", b"Http/1.1", b"hTTP/1.1", b"HTTp/1.1", b"HTTPS/1.1", b"HTTP//1.1",
    b"HTTP\\1.1",
    b"HTP/1.1", b"HTTTP/1.1", b"HTT/1.1", b"XTTP/1.1", b"SIP/2.0", b"RTSP/1.0", b"ICE/1.0", b"SHTTP/1.3", b"HTTP/\xb9.1",
    b"HTTP/1.\xb2", b"HTTP/%31.1", b"HTTP/0x1.1", b"HTTP/1e0.1", b"HTTP/1.1 HTTP/1.1", b"HTTP/1.0.1", b"/1.1", b"HTTP/",
    b"HTTP", b"1.1",
    b"HTTP/\xef\xbc\x91.1", b"HTTP/ 1.1", b"HTTP /1.1", b"HTTP/1 .1", b"HTTP/1. 1", b"QUIC/1.1", b"HTTP/1.1\\",
    b"HTTP/1.1%0d%0a",
]

METHODS = [
    b"", b"GET,POST", b"GET/POST", b"(GET)", b"\"GET\"", b"<GET>", b"GET:", b"GET@", b"GET=1", b"[GET]", b"{GET}", b"GET?",
    b"GET;x",
    b"GE\xcc\x81T", b"\xef\xbb\xbfGET", b"G\xc3\x89T", b"GET\xa0", b"\xa0GET", b"GET\xc2\xa0", b"\\GET", b"GET\\r\\n", b"//",
    b"POST(",
    b"GET\x1b[31m", b"\x00GET", b"GET\x00", b"\xffGET", b"G\xadET",
]

TARGETS = [
    b"", b"index", b"index.html", b"path/", b"?", b"?q", b"#", b"#f", b"/#", b"/a#b", b"/?q#f", b"//h/p#f", b"/#%20",
    b"/a#?b", b".", b"..",
    b"../a", b"./a", b"\\", b"\\a", b"/a\\b", b"/\\", b"/..\\..", b"/a\"b", b"/<a", b"/a>", b"/<script>", b"/{a", b"/a}",
    b"/{{a}}", b"/a`b",
    b"/%00", b"/a%00", b"/%00/b", b"/a%00.png", b"/%2500%00", b"/%00?q", b"/\x80", b"/\xc3\xa9", b"/\xe2\x80\x8b", b"/a?\xff",
    b"/\xff?b",
    b"/a?b\"c", b"/a?<b>", b"/a?b#c", b"/ HTTP/1.1 /", b"*", b"**", b"*/", b"/ *", b"*?q", b"h:80", b"h",
    b"www.example.com:443", b"[::1]:80",
    b"@/", b"user@h/", b":80", b":", b"://h/", b"ftp://h/", b"file:///etc/passwd", b"ws://h/", b"gopher://h/",
    b"javascript:alert(1)",
    b"data:,x", b"mailto:a@b", b"urn:a:b", b"http:", b"http:/", b"http:/h/", b"http:///", b"http:///p", b"http://?q",
    b"http:h/p", b"http//h/",
    b"http:\\\\h\\", b"http://h\\p", b"http://user@h/", b"http://user:pw@h/", b"http://@h/", b"http://h@/",
    b"http://h:65536/", b"http://h:99999999999/", b"http://h:-1/", b"http://h:+80/", b"http://h:8o/", b"http://h: 80/",
    b"http://h:80:80/",
    b"http://:80/", b"http://[/", b"http://]/", b"http://[]/", b"http://[::1/", b"http://::1/", b"http://[::1]x/",
    b"http://[::g]/",
    b"http://[::1%25lo]/", b"http://h,i/", b"http://h i/", b"http://%zz/", b"http://h%/", b"http://h%2/", b"http://h^/",
    b"http://h|/",
    b"http://h`/", b"http://h\"/", b"http://<h>/", b"http://{h}/", b"http://h#f", b"http://h/#f", b"http://#", b"http://h\x80/",
    b"hhttp://h/", b"http1://h/", b"https:/h", b"https:///", b"https://", b"http://", b"shttp://h/", b"xhttp://h/", b"/a b",
    b"/a  b", b"/a\tb",
]

BLANKS = {
    "two-spaces-before-target": b"GET  /p HTTP/1.1\r\n",
    "three-spaces-before-target": b"GET   /p HTTP/1.1\r\n",
    "two-spaces-before-version": b"GET /p  HTTP/1.1\r\n",
    "three-spaces-before-version": b"GET /p   HTTP/1.1\r\n",
    "space-tab": b"GET \t/p HTTP/1.1\r\n",
    "tab-space": b"GET\t /p HTTP/1.1\r\n",
    "tab-before-version": b"GET /p \tHTTP/1.1\r\n",
    "space-at-end": b"GET /p HTTP/1.1 \r\n",
    "spaces-at-end": b"GET /p HTTP/1.1    \r\n",
    "tab-at-end": b"GET /p HTTP/1.1\t\r\n",
    "space-first": b" GET /p HTTP/1.1\r\n",
    "tab-first": b"\tGET /p HTTP/1.1\r\n",
    "empty-line-with-space-first": b" \r\nGET /p HTTP/1.1\r\n",
    "no-spaces": b"GET/pHTTP/1.1\r\n",
    "no-target-one-space": b"GET HTTP/1.1\r\n",
    "no-target-two-spaces": b"GET  HTTP/1.1\r\n",
    "no-method": b"/p HTTP/1.1\r\n",
    "space-for-method": b" /p HTTP/1.1\r\n",
    "version-only": b"HTTP/1.1\r\n",
    "version-first": b"HTTP/1.1 GET /p\r\n",
    "target-first": b"/p GET HTTP/1.1\r\n",
    "four-words": b"GET /p /q HTTP/1.1\r\n",
    "five-words": b"GET /p /q HTTP/1.1 x\r\n",
    "status-line": b"HTTP/1.1 200 OK\r\n",
    "line-in-quotes": b"\"GET /p HTTP/1.1\"\r\n",
    "header-first": b"Host: h\r\nGET /p HTTP/1.1\r\n",
    "space-instead-of-crlf": b"GET /p HTTP/1.1 ",
    "two-request-lines": b"GET /p HTTP/1.1\r\nGET /q HTTP/1.1\r\n",
    "escaped-crlf": b"GET /p HTTP/1.1\\r\\n",
    "percent-crlf-then-line": b"GET /p%0d%0a HTTP/1.1 X: y\r\n",
}

# What arrives at any open port.
OTHERS = {
    "0.9": b"GET /\r\n",
    "0.9-lf": b"GET /\n",
    "0.9-space": b"GET / \r\n",
    "0.9-head": b"HEAD /\r\n\r\n",
    "0.9-empty-line": b"GET /\r\n\r\n",
    "0.9-with-host": b"GET /\r\nHost: h\r\n\r\n",
    "0.9-post": b"POST /\r\nContent-Length: 3\r\n\r\nabc",
    "2.0-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "2.0-preface-and-settings": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "2.0-preface-path": b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "2.0-preface-as-1.1": b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
    "2.0-preface-lower": b"pri * HTTP/2.0\r\n\r\nsm\r\n\r\n",
    "2.0-settings-frame": b"\0\0\0\4\0\0\0\0\0",
    "tls-1.0-hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160),
    "tls-1.3-hello": b"\x16\x03\x03\x00\x45\x01\x00\x00\x41\x03\x03" + bytes(range(60)),
    "ssl2-hello": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
    "tls-alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "smtp": b"EHLO example.com\r\n",
    "smtp-mail": b"MAIL FROM:<a@example.com>\r\n",
    "ftp": b"USER anonymous\r\n",
    "irc": b"NICK a\r\nUSER a 0 * :a\r\n",
    "redis-inline": b"PING\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "memcached": b"get key\r\n",
    "memcached-set": b"set a 0 0 1\r\nb\r\n",
    "socks4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    "socks5": b"\x05\x01\x00",
    "proxy-v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "proxy-v1-unknown": b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "proxy-v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "rtsp": b"DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "sip": b"OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n",
    "fastcgi": b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
    "uwsgi": b"\x00\x1a\x00\x00\x0e\x00REQUEST_METHOD",
    "ajp": b"\x12\x34\x00\x01\x0a",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "json": b"{\"a\": 1}\r\n\r\n",
    "xml": b"<?xml version=\"1.0\"?>\r\n\r\n",
    "html": b"<html></html>\r\n\r\n",
    "utf-16": "GET / HTTP/1.1\r\n\r\n".encode("utf-16"),
    "utf-16-be": "GET / HTTP/1.1\r\nHost: h\r\n\r\n".encode("utf-16-be"),
    "utf-8-bom": b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "ebcdic": bytes([0xC7, 0xC5, 0xE3, 0x40, 0x61, 0x0D, 0x25]),
    "rdp": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    "smb": b"\x00\x00\x00\x2f\xffSMB\x72",
    "postgres": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    "mqtt": b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02a1",
    "telnet": b"\xff\xfb\x18\xff\xfb\x20",
    "nul-bytes": bytes(64),
    "ones": b"\xff" * 64,
    "lf-first": b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "lf-lf": b"\n\n",
    "cr-cr": b"\r\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "cr-get": b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "crlf-cr-get": b"\r\n\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "crlf-space": b"\r\n GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "crlf-lf": b"\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "nine-empty-lines": b"\r\n" * 9 + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a-hundred-empty-lines": b"\r\n" * 100 + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
}

LIMITS = {
    "target-40000": (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n" + REST, (414,)),
    "target-no-end": (b"GET /" + b"a" * 33000, (414,)),
    "method-40000": (b"G" * 40000 + b" / HTTP/1.1\r\n" + REST, (400, 414, 431)),
    "one-header-40000": (GET + HOST + b"X: " + b"a" * 40000 + b"\r\n\r\n", (431,)),
    "name-40000": (GET + HOST + b"X" * 40000 + b": a\r\n\r\n", (431,)),
    "101-headers": (GET + HOST + b"X: a\r\n" * 100 + b"\r\n", (431,)),
    "300-headers": (GET + HOST + b"X: a\r\n" * 299 + b"\r\n", (431,)),
    "10000-headers": (GET + HOST + b"X:\r\n" * 10000 + b"\r\n", (431,)),
    "host-40000": (GET + b"Host: " + b"h" * 40000 + b"\r\n\r\n", (431,)),
    "headers-33000-no-end": (GET + HOST + b"X: aaaaaaaa\r\n" * 2600, (431,)),
    "101-connection-options": (GET + HOST + b"Connection: " + b",".join([b"a"] * 101) + b"\r\n\r\n", (400,)),
}


def connect_cases():
    for target in (b"h:443", b"/", b"*", b"http://h/", b"h", b"[::1]:443", b"h:443/x", b""):
        yield refuse(f"connect/{label(target)}", b"CONNECT " + target + b" HTTP/1.1\r\n" + REST, 400, 501)
        yield refuse(f"connect-1.0/{label(target)}", b"CONNECT " + target + b" HTTP/1.0\r\n" + REST, 400, 501)


def cases():
    found = []
    for place, line in PLACES.items():
        for byte in CONTROLS + b"\x80\x85\xa0\xff":
            if byte == 0x0a and place == "after-version":
                continue  # in the table of line ends
            found.append(refuse(f"line/{place}/{byte:02x}", line % bytes([byte]) + b"\r\n" + REST, *ANY))
    for byte in NO_TOKEN_BYTES:
        if byte not in CONTROLS + b"\x80\x85\xa0\xff \t":
            found.append(refuse(f"line/method-byte/{byte:02x}", b"G%bT / HTTP/1.1\r\n" % bytes([byte]) + REST, *ANY))
    for version in VERSIONS:
        found.append(refuse(f"line/version/{label(version)}", b"GET / " + version + b"\r\n" + REST, 400, 505))
        found.append(refuse(f"line/version-post/{label(version)}",
                            b"POST / " + version + b"\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 400, 505))
    for method in METHODS:
        found.append(refuse(f"line/method/{label(method)}", method + b" / HTTP/1.1\r\n" + REST, *ANY))
    for target in TARGETS:
        found.append(refuse(f"line/target/{label(target)}", b"GET " + target + b" HTTP/1.1\r\n" + REST, 400, 505))
    for target in (b"*", b"/a#b", b"", b"h:80", b"/\x80"):
        found.append(refuse(f"line/target-post/{label(target)}",
                            b"POST " + target + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 400, 505))
    for name, line in BLANKS.items():
        found.append(refuse(f"line/blanks/{name}", line + REST, *ANY))
    for name, data in OTHERS.items():
        # What has no line end in it yet waits for one; the empty line makes an end of it.
        found.append(refuse(f"other-protocol/{name}", data + b"\r\n\r\n", *ANY))
    for name, (data, statuses) in LIMITS.items():
        found.append(refuse(f"limit/{name}", data, *statuses))
    found.append(refuse("line/after-a-good-one", GET + REST + b"GET  / HTTP/1.1\r\n" + REST, 400,
                        before=[(b"GET", b"/", b"")]))
    found.append(refuse("line/after-a-good-post", POST + HOST + b"Content-Length: 3\r\n\r\nabcGET / HTTP/2.0\r\n" + REST, 505,
                        before=[(b"POST", b"/p", b"abc")]))
    return found + list(connect_cases())
