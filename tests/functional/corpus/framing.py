"""Content-Length and Transfer-Encoding, each wrong by itself, doubled, and both together."""
from corpus.cases import CHUNKED, END, HOST, INNER, POST, label, refuse, unfinished

LENGTHS = [
    b"", b" ", b"+3", b"-3", b"-0", b"+0", b"-1", b"3 ,", b"3,", b",3", b"3,3", b"3, 3", b"3, 4", b"3;", b"3;x", b"3 3",
    b"3 4", b"3\t3", b"3.0", b".3", b"3.",
    b"3e0", b"3E1", b"0x3", b"0X3", b"x3", b"3x", b"0b11", b"0o3", b"3h", b"$3", b"#3", b"(3)", b"[3]", b"\"3\"", b"'3'",
    b"<3>", b"{3}", b"3_0", b"_3", b"3_",
    b"1_0", b"1 0", b"1'000", b"1,000", b"three", b"NaN", b"inf", b"Infinity", b"null", b"None", b"nil", b"true",
    b"undefined", b"\xb3", b"3\xb3",
    b"\xef\xbc\x93", b"\xd9\xa3", b"3\xa0", b"\xa03", b"3\xc2\xa0", b"9223372036854775808", b"18446744073709551615",
    b"18446744073709551616",
    b"18446744073709551619", b"99999999999999999999", b"99999999999999999999999999999999",
    b"340282366920938463463374607431768211459", b"4294967299x",
    b"3/", b"3:", b"3=3", b"3+0", b"3-0", b"3*1", b"~3", b"!3", b"3%", b"%33", b"3\\", b"a", b"A", b"f", b"3L", b"3u", b"3n",
    b"chunked", b"3, chunked", b"identity",
    b"gzip", b"*", b"-", b"+", b"--3", b"++3", b"+-3", b"0-3", b"00-3", b"3,0", b"0,3", b"3 0", b"\x803",
]

DOUBLE_LENGTHS = [(a, b) for a in (b"3", b"0", b"03") for b in (b"3", b"0", b"4", b"", b"x", b"+3", b"3, 3")]

ENCODINGS = [
    b"", b" ", b"chunked,", b",chunked", b"chunked, chunked", b"chunked,chunked", b"chunked, identity", b"chunked;",
    b"chunked;q=1",
    b"chunked; x=y", b"chunked x", b"x chunked", b"chunked chunked", b"chunkedx", b"xchunked", b"chunke", b"hunked", b"chunk",
    b"chunkeds", b"chun ked", b"\"chunked\"",
    b"'chunked'", b"(chunked)", b"<chunked>", b"[chunked]", b"{chunked}", b"chunked/1", b"chunked.", b".chunked", b"chunked-",
    b"-chunked", b"chunked_", b"_chunked",
    b"chunked\\", b"\\chunked", b"chunked:", b":chunked", b"chunked=", b"=chunked", b"chunked%", b"%chunked", b"%63hunked",
    b"chunked\xa0", b"\xa0chunked", b"chunked\x85",
    b"\x85chunked", b"\xffchunked", b"c\xc4\xa7unked", b"chunked\xc2\xa0", b"chun\xe2\x80\x8bked", b"identity", b"Identity",
    b"gzip", b"deflate",
    b"compress", b"x-gzip", b"br", b"zstd", b"identity, gzip", b"chunked, gzip", b"gzip, chunked, gzip",
    b"gzip, chunked, chunked", b"chunked, gzip, chunked",
    b"chunked,,gzip", b"none", b"null", b"false", b"0", b"1", b"3", b"*", b"x", b"x, y", b"cow", b"trailers", b"close",
    b"*/*", b"100-continue", b"chunked,x",
    b"chunked, ", b" ,chunked", b",", b",,", b";", b"chunked\t,", b"cHuNkEd, ChUnKeD", b"chunked;chunked", b"chunked \t x",
    b"CHUNKED,", b"\xc3\xa7hunked",
    b"gzip;q=1", b"q=1", b"chunked&", b"chunked|", b"chunked+gzip", b"chunked and gzip", b"!chunked", b"chunked!", b"#chunked",
]
# Well-formed lists whose last coding is chunked: understood, not offered.
STACKED = [b"gzip, chunked", b"gzip,chunked", b"deflate, gzip, chunked", b"identity, chunked", b"x;y=z, chunked",
           b"br , chunked"]

DOUBLE_ENCODINGS = [
    (b"chunked", b"chunked"), (b"chunked", b"identity"), (b"identity", b"chunked"), (b"chunked", b""), (b"", b"chunked"),
    (b"gzip", b"chunked"),
    (b"chunked", b"gzip"), (b"chunked", b"x"), (b"x", b"chunked"), (b"chunked", b"CHUNKED"), (b"chunked", b"chunked;"),
    (b"chunked", b" "),
]

# Names by which Transfer-Encoding or Content-Length hide. With CL: 5 beside them, a reader of either sees another body.
HIDDEN_NAMES = [
    b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding", b"\tTransfer-Encoding", b"Transfer-Encoding\0",
    b"\0Transfer-Encoding",
    b"Transfer-Encoding\x0b", b"\x0bTransfer-Encoding", b"Transfer-Encoding\r", b"Transfer Encoding", b"Transfer-Encoding\x0c",
    b"Transfer-\xadEncoding", b"Transfer-Encoding\xa0", b"Transfer-Encoding\x7f", b"\"Transfer-Encoding\"",
    b"(Transfer-Encoding)", b"X:\n Transfer-Encoding",
    b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X: y\r\rTransfer-Encoding", b"X: y\0Transfer-Encoding",
    b"X: y\r\n Transfer-Encoding",
    b"Transfer-Encoding;", b"Transfer-Encoding=", b"Transfer-Encoding/", b"Content-Length ", b"Content-Length\t",
    b" Content-Length", b"Content-Length\0",
    b"Content-Length\x0b", b"Content Length", b"Content-Length\r", b"X: y\nContent-Length", b"X: y\rContent-Length",
    b"Content-Length\xa0",
    b"\"Content-Length\"", b"Content-Length\x7f", b"Content-Length=", b"Content-Length;",
]


def both_cases():
    """Content-Length and Transfer-Encoding in one head: refused, whatever they say and in whichever order."""
    for length in (b"0", b"3", b"5", b"6", b"30", b"999", b"", b"x", b"-1", b"3, 3"):
        for encoding in (b"chunked", b"Chunked", b"identity", b"gzip", b"gzip, chunked", b"", b"x", b"chunked, x"):
            one = b"Content-Length: " + length + END
            two = b"Transfer-Encoding: " + encoding + END
            body = b"0\r\n\r\n" + INNER
            yield refuse(f"both/length-first/{label(length)}/{label(encoding)}", POST + HOST + one + two + END + body, 400)
            yield refuse(f"both/encoding-first/{label(length)}/{label(encoding)}", POST + HOST + two + one + END + body, 400)


def cases():
    found = []
    for value in LENGTHS:
        found.append(refuse(f"length/{label(value)}", POST + HOST + b"Content-Length: " + value + b"\r\n\r\nabc"))
        found.append(refuse(f"length-get/{label(value)}",
                     b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: " + value + b"\r\n\r\n" + INNER))
    for a, b in DOUBLE_LENGTHS:
        found.append(refuse(f"lengths/{label(a)}/{label(b)}",
                            POST + HOST + b"Content-Length: " + a + b"\r\nContent-Length: " + b + b"\r\n\r\nabc" + INNER))
        found.append(refuse(f"lengths-apart/{label(a)}/{label(b)}",
                            POST + b"CONTENT-LENGTH: " + a + END + HOST + b"content-length:" + b + b"\r\n\r\nabc" + INNER))
    for value in ENCODINGS:
        found.append(refuse(f"encoding/{label(value)}",
                     POST + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, 501))
        found.append(refuse(f"encoding-get/{label(value)}",
                            b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n" + INNER, 400, 501))
    for value in STACKED:
        found.append(refuse(f"stacked/{label(value)}", POST + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n",
                     501))
    for a, b in DOUBLE_ENCODINGS:
        found.append(refuse(f"encodings/{label(a)}/{label(b)}",
                            POST + HOST + b"Transfer-Encoding: " + a + b"\r\nTransfer-Encoding: " + b + b"\r\n\r\n0\r\n\r\n",
                            400, 501))
    for value in (b"chunked", b"identity", b"gzip", b"", b"Chunked"):
        found.append(refuse(f"encoding-1.0/{label(value)}",
                            b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", 400, 501))
        found.append(refuse(f"encoding-1.0-keep-alive/{label(value)}",
                            b"POST / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\nTransfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n",
                            400, 501))
    for name in HIDDEN_NAMES:
        hidden = name + (b": 3" if b"ength" in name else b": chunked") + END
        found.append(refuse(f"hidden/{label(name)}/alone", POST + HOST + hidden + END + b"0\r\n\r\n" + INNER))
        found.append(refuse(f"hidden/{label(name)}/with-length",
                     POST + HOST + b"Content-Length: 5\r\n" + hidden + END + b"0\r\n\r\n" + INNER))
        found.append(refuse(f"hidden/{label(name)}/with-encoding", POST + HOST + CHUNKED + hidden + END + b"0\r\n\r\n" + INNER))
    found += both_cases()
    # Bodies that do not end: nothing is served of them.
    for length in (b"4", b"1000", b"9223372036854775807"):
        found.append(unfinished(f"unfinished/length/{label(length)}",
                     POST + HOST + b"Content-Length: " + length + b"\r\n\r\nabc"))
    for cut in (b"GET", b"GET /", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost",
                b"GET / HTTP/1.1\r\nHost: h\r\n",
                b"GET / HTTP/1.1\r\nHost: h\r\n\r", b"\r", b"\r\n", b"P"):
        found.append(unfinished(f"unfinished/head/{label(cut)}", cut))
    return found
