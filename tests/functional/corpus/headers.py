"""Header sections that are malformed, and Host, Connection, Upgrade and Expect where they are wrong."""
from corpus.cases import CHUNKED, CONTROLS, END, GET, HOST, NO_TOKEN_BYTES, POST, label, refuse

# Lines that end otherwise than with CR LF, after each kind of line.
LINE_ENDS = {
    "lf": b"\n", "cr": b"\r", "lf-cr": b"\n\r", "cr-cr-lf": b"\r\r\n", "lf-lf": b"\n\n", "cr-cr": b"\r\r",
    "nul-crlf": b"\0\r\n",
    "cr-nul-lf": b"\r\0\n", "cr-space-lf": b"\r \n", "vt": b"\x0b", "ff": b"\x0c", "nel": b"\x85", "ls": b"\xe2\x80\xa8",
    "rs": b"\x1e",
    "crlf-cr": b"\r\n\r", "crlf-lf": b"\r\n\n", "crlf-nul": b"\r\n\0", "crlf-space": b"\r\n ", "escaped": b"\\r\\n",
    "percent": b"%0d%0a",
}
ENDED_LINES = {
    "request-line": b"GET / HTTP/1.1%bHost: h\r\n\r\n",
    "host": b"GET / HTTP/1.1\r\nHost: h%bX: y\r\n\r\n",
    "other": b"GET / HTTP/1.1\r\nHost: h\r\nX: y%bZ: z\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3%bX: y\r\n\r\nabc",
    "before-length": b"POST / HTTP/1.1\r\nHost: h\r\nX: y%bContent-Length: 3\r\n\r\nabc",
    "encoding": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked%bX: y\r\n\r\n0\r\n\r\n",
}
# A few of the combinations are well-formed by chance: a value may hold these bytes.
CHANCE = {(line, end) for line in ("other", "before-length") for end in ("nel", "ls", "escaped", "percent")}

HOSTS = [
    b"", b" ", b"\t", b"a b", b"a,b", b"h, h", b"h,", b",h", b"user@h", b"@h", b"h@", b"user:pw@h:80", b"h/", b"/h", b"h/p",
    b"h?q", b"?",
    b"h#f", b"#", b"http://h", b"http://h/", b"//h", b"h:80:80", b"h:8o", b"h:-1", b"h:+1", b"h: 80", b"h :80", b"h:65536",
    b"h:100000",
    b"h:99999999999999999999", b"h:0x50", b"h:80/", b"h:80?", b"h:80#", b"h:http", b":80", b":", b"::1", b"fe80::1", b"[",
    b"]", b"[]", b"[::1",
    b"::1]", b"[::1]]", b"[[::1]]", b"[::1]x", b"[::1]80", b"[::1]:x", b"[::1]:65536", b"[::g]", b"[::1%25lo]", b"[::1%lo]",
    b"[ ::1]", b"[::1] :80",
    b"[v]:x y", b"h\\", b"\\h", b"h\"", b"\"h\"", b"<h>", b"h>", b"{h}", b"h|i", b"h^", b"`h`", b"h%", b"h%2", b"h%zz", b"%",
    b"%0", b"h%g0", b"\x80",
    b"h\xff", b"\xc3\xa9.example", b"h\x7f", b"h\x00", b"\x00h", b"h\x01i", b"a\tb", b"h\x0b", b"h:\x00", b"h:80\x00",
    b"h, i:80", b"a a:80",
    b"h[::1]", b"h]:80", b"h:[80]", b"[::1]:80:80", b"h:80,h:80", b"h:80 h:80", b"h=<>", b"h:8\xb9", b"[::ffff:1.2.3.4",
]

DUPLICATE_HOSTS = {
    "same": b"Host: h\r\nHost: h\r\n",
    "other": b"Host: h\r\nHost: evil\r\n",
    "case": b"Host: h\r\nhOST: evil\r\n",
    "empty-first": b"Host:\r\nHost: h\r\n",
    "empty-second": b"Host: h\r\nHost:\r\n",
    "apart": b"Host: h\r\nX: y\r\nHost: h\r\n",
    "three": b"Host: h\r\nHost: h\r\nHost: h\r\n",
    "space-before-colon": b"Host : h\r\n",
    "space-before-colon-second": b"Host: h\r\nHost : evil\r\n",
    "indented": b" Host: h\r\n",
    "indented-second": b"Host: h\r\n Host: evil\r\n",
    "tab-indented-second": b"Host: h\r\n\tHost: evil\r\n",
    "underscore-nul": b"Host: h\r\nHost\0: evil\r\n",
    "vt-second": b"Host: h\r\nHost\x0b: evil\r\n",
    "none": b"",
    "x-host-only": b"X-Host: h\r\n",
    "in-body-of-value": b"X: Host: h\r\n",
    "forwarded-only": b"X-Forwarded-Host: h\r\n",
    "named-hosts": b"Hosts: h\r\n",
    "no-colon": b"Host h\r\n",
    "equals": b"Host=h\r\n",
}

# A line folded, and what it would become for those who unfold.
FOLDS = {
    "space": b"\r\n ", "tab": b"\r\n\t", "spaces": b"\r\n    ", "space-tab": b"\r\n \t", "lf-space": b"\n ", "cr-space": b"\r ",
    "twice": b"\r\n \r\n ", "blank-line": b"\r\n \r\n\t",
}
FOLDED = {
    "x": b"GET / HTTP/1.1\r\nHost: h\r\nX: a%bb\r\n\r\n",
    "x-empty": b"GET / HTTP/1.1\r\nHost: h\r\nX:%bb\r\n\r\n",
    "host": b"GET / HTTP/1.1\r\nHost:%bh\r\n\r\n",
    "host-end": b"GET / HTTP/1.1\r\nHost: h%bevil\r\n\r\n",
    "first": b"GET / HTTP/1.1%bHost: h\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:%b3\r\n\r\nabc",
    "length-in-fold": b"POST / HTTP/1.1\r\nHost: h\r\nX: y%bContent-Length: 3\r\n\r\nabc",
    "encoding": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:%bchunked\r\n\r\n0\r\n\r\n",
    "encoding-in-fold": b"POST / HTTP/1.1\r\nHost: h\r\nX: y%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "connection": b"GET / HTTP/1.1\r\nHost: h\r\nConnection:%bclose\r\n\r\n",
    "last": b"GET / HTTP/1.1\r\nHost: h%b\r\n\r\n",
}

NO_HEADERS = {
    "no-colon": b"X\r\n", "no-colon-words": b"X y z\r\n", "colon-only": b":\r\n", "colon-value": b": y\r\n",
    "space-colon": b" : y\r\n",
    "name-space-colon": b"X : y\r\n", "name-tab-colon": b"X\t: y\r\n", "name-spaces-colon": b"X   : y\r\n",
    "two-words": b"X Y: z\r\n",
    "quoted-name": b"\"X\": y\r\n", "equals": b"X=y\r\n", "semicolon": b"X; y\r\n", "request-line": b"GET /x HTTP/1.1\r\n",
    "status-line": b"HTTP/1.1 200 OK\r\n", "bracket": b"[X]: y\r\n", "slash": b"X/Y: z\r\n", "at": b"X@Y: z\r\n",
    "comma": b"X,Y: z\r\n",
    "parens": b"X(Y): z\r\n", "braces": b"{X}: y\r\n", "utf8": b"X\xc3\xa9: y\r\n", "bom": b"\xef\xbb\xbfX: y\r\n",
    "nul-name": b"\0: y\r\n",
    "json": b"{\"a\": 1}\r\n", "comment": b"# X: y\r\n; z\r\n", "fullwidth-colon": b"X\xef\xbc\x9ay\r\n",
    "colon-first": b":X: y\r\n",
    "backslash": b"X\\: y\r\n", "question": b"X?: y\r\n", "just-a-cr": b"\rX: y\r\n", "just-a-space": b" \r\n",
    "just-a-tab": b"\t\r\n",
    "pseudo": b":authority: evil\r\n", "pseudo-path": b":path: /evil\r\n", "pseudo-method": b":method: GET\r\n",
}

CONNECTIONS = [
    b"a b", b"close keep-alive", b"close;", b"close; x", b"close/1", b"\"close\"", b"close, a b", b"a@b", b"a=b", b"(close)",
    b"close, \"x\"", b"{}",
    b"[close]", b"close:", b"a:b", b"<close>", b"close\\", b"cl\x80ose", b"\xa0close", b"close\x85", b"?", b"a, ?, b",
    b"keep alive", b"close close",
]

EXPECTS = [
    b"100", b"100-continu", b"100-continue-not", b"100 continue", b"200-ok", b"x", b"100-continue, x", b"x, 100-continue",
    b"100-continue;q=1",
    b"100-continue 100-continue", b"\"100-continue\"", b"100_continue", b"continue", b"100-continue,x", b"a=b",
    b"1", b"-",
]

UPGRADES = [b"a b", b"/", b"/1", b"websocket/", b"a/b/c", b"a@b", b"\"websocket\"", b"web socket", b"websocket;x", b"a=b",
    b"(a)", b"a,b c", b"a/ b", b"\x80"]


def byte_cases():
    """Each byte that may not be in a name, in each place of one; each control byte in each place of a value."""
    for byte in NO_TOKEN_BYTES:
        b = bytes([byte])
        if byte != 0x3a:  # a colon ends the name; the line is well-formed
            yield refuse(f"name/in/{byte:02x}", GET + HOST + b"X%bY: z\r\n\r\n" % b)
            yield refuse(f"name/end/{byte:02x}", GET + HOST + b"X%b: z\r\n\r\n" % b)
        if byte not in b"\r":
            yield refuse(f"name/begin/{byte:02x}", GET + HOST + b"%bX: z\r\n\r\n" % b)
    for byte in CONTROLS:
        b = bytes([byte])
        if byte == 0x09:
            continue
        yield refuse(f"value/begin/{byte:02x}", GET + HOST + b"X:%bz\r\n\r\n" % b)
        yield refuse(f"value/in/{byte:02x}", GET + HOST + b"X: y%bz\r\n\r\n" % b)
        if byte != 0x0d:
            yield refuse(f"value/end/{byte:02x}", GET + HOST + b"X: y%b\r\n\r\n" % b)
        yield refuse(f"value/host/{byte:02x}", GET + b"Host: h%bi\r\n\r\n" % b)
        yield refuse(f"value/length/{byte:02x}", POST + HOST + b"Content-Length: %b3\r\n\r\nabc" % b)
        yield refuse(f"value/length-end/{byte:02x}", POST + HOST + b"Content-Length: 3%b\r\n\r\nabc" % b if byte != 0x0d
                     else POST + HOST + b"Content-Length: 3\rX\r\n\r\nabc")
        yield refuse(f"value/encoding/{byte:02x}", POST + HOST + b"Transfer-Encoding: %bchunked\r\n\r\n0\r\n\r\n" % b)
        yield refuse(f"value/encoding-in/{byte:02x}", POST + HOST + b"Transfer-Encoding: chu%bnked\r\n\r\n0\r\n\r\n" % b)


def cases():
    found = []
    for line, data in ENDED_LINES.items():
        for end, bytes_ in LINE_ENDS.items():
            if (line, end) not in CHANCE:
                found.append(refuse(f"line-end/{line}/{end}", data % bytes_, 400, 501, 505))
    for end in (b"\n", b"\r\n\n", b"\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\rX\r\n\r\n", b"\r\n\0\r\n\r\n", b"\r\n \r\n\r\n"):
        found.append(refuse(f"line-end/head/{label(end)}", b"GET / HTTP/1.1\r\nHost: h" + end + b"X: y\r\n\r\n"))
        found.append(refuse(f"line-end/head-body/{label(end)}",
                     b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5" + end + b"hello\r\n\r\n"))
    found += byte_cases()
    for host in HOSTS:
        found.append(refuse(f"host/{label(host)}", GET + b"Host: " + host + b"\r\n\r\n"))
        found.append(refuse(f"host-post/{label(host)}", POST + b"Content-Length: 1\r\nHost: " + host + b"\r\n\r\nx"))
    for name, lines in DUPLICATE_HOSTS.items():
        found.append(refuse(f"hosts/{name}", GET + lines + END))
        found.append(refuse(f"hosts-absolute/{name}", b"GET http://h/ HTTP/1.1\r\n" + lines + END))
        found.append(refuse(f"hosts-chunked/{name}", POST + CHUNKED + lines + END + b"0\r\n\r\n"))
    for what, data in FOLDED.items():
        for fold, bytes_ in FOLDS.items():
            found.append(refuse(f"fold/{what}/{fold}", data % bytes_, 400, 505))
    for name, line in NO_HEADERS.items():
        found.append(refuse(f"no-header/{name}/after", GET + HOST + line + END))
        found.append(refuse(f"no-header/{name}/before", GET + line + HOST + END))
    for value in CONNECTIONS:
        found.append(refuse(f"connection/{label(value)}", GET + HOST + b"Connection: " + value + b"\r\n\r\n"))
    for value in EXPECTS:
        found.append(refuse(f"expect/{label(value)}", POST + HOST + b"Content-Length: 1\r\nExpect: " + value + b"\r\n\r\nx",
                     417))
    for value in UPGRADES:
        found.append(refuse(f"upgrade/{label(value)}", GET + HOST + b"Connection: upgrade\r\nUpgrade: " + value + b"\r\n\r\n"))
    return found
