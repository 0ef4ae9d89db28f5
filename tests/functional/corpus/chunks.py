"""Chunked bodies that are malformed: sizes, extensions, ends, trailers."""
from corpus.cases import CHUNKED, CONTROLS, END, HOST, INNER, POST, label, refuse, unfinished

HEAD = POST + HOST + CHUNKED + END
LAST = b"0\r\n\r\n"

SIZES = [
    b"", b" 3", b"3 ", b"\t3", b"3\t", b"0x3", b"0X3", b"x3", b"3x", b"3h", b"h", b"g", b"G", b"+3", b"-3", b"-0", b"-1",
    b"+0", b"3.", b".3", b"3.0", b"3,", b"3,3", b"3 3",
    b"3_", b"_3", b"0_3", b"1_0", b"'3'", b"\"3\"", b"(3)", b"[3]", b"<3>", b"{3}", b"$3", b"#3", b"3#", b"3/", b"3:", b"3=",
    b"3%", b"%33", b"\\x3", b"3\\", b"3e0x",
    b"three", b"\xb3", b"3\xb3", b"\xef\xbc\x93", b"3\xa0", b"\xa03", b"~3", b"!3", b"3!", b"*", b"3*", b"3+0", b"3-0", b"3|",
    b"3&", b"3@", b"3?",
    b"10000000000000000", b"10000000000000003", b"ffffffffffffffff", b"fffffffffffffffff", b"8000000000000000",
    b"80000000000000003", b"00000000000000003",
    b"0" * 26 + b"3", b"f" * 32, b"3" + b"0" * 40, b"3" * 64, b"chunked", b"0 x", b"\r\n3", b"3\r\n",
]

EXTENSIONS = [
    b";", b"; ", b";;", b";=", b";=x", b";a=", b";a==b", b";a=b=c", b";a b", b";a=b c", b";a,b", b";a=\"", b";a=\"b",
    b";a=\"b\"c", b";a=b\"c\"", b";a=\"b\" c",
    b";a=\"b\\", b";a='b c'", b";a=(b)", b";a=<b>", b";a=[b]", b";a={b}", b";a:b", b";a@b", b";a/b", b";\"a\"", b";\"a\"=b",
    b";a;", b";a;;b", b";a; ", b";a ", b";a=b ",
    b" ;", b" x", b"\tx", b" ;a ", b";a\\", b";a=b\\c", b";\xc3\xa9", b";a=\xc3\xa9", b";a\xff", b";a=b,c=d", b",a", b":a",
    b"=a", b" =a", b" a=b", b";?", b";a?b",
    b";a= ", b";a =", b";(a)", b";a=\x80",
]

# What follows the three bytes of a chunk instead of CR LF.
CHUNK_ENDS = [
    b"", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b" \r\n", b"\t\r\n", b"X\r\n", b"XX", b"\r\nX", b"\0\r\n", b"\r\0\n",
    b"d\r\n", b"def\r\n", b"\n\n", b"0\r\n", b";\r\n", b"\r ",
    b"\rX", b"\x0b", b"\r\n\n", b"\r\n\r", b"\r\n ",
]

# Line ends after the size of a chunk, of the last chunk, and in trailers.
LINE_ENDS = [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\rX\n", b"\r \n", b"\0\r\n", b"\r\0\n", b"\x0b\r\n", b" \n",
             b";a\n", b";a\r", b";a\rX\r\n", b";a=\"\n\"\r\n", b";a=\"\r\n\"\r\n", b";\n"]

LAST_CHUNKS = [
    b"0\n\r\n", b"0\r\n\n", b"0\r\r\n", b"0\n\n", b"0\r\n\rX", b"0\r\n\r\r\n", b"0\r\n \r\n\r\n", b"0\r\n\t\r\n\r\n",
    b"0\r\n\0\r\n\r\n", b"0;\r\n\r\n", b"0 \r\n\r\n", b"-0\r\n\r\n", b"0x0\r\n\r\n",
    b"0, 0\r\n\r\n", b"00000000000000000\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n0\r\n\r\n", b"0\r\n3\r\nabc\r\n\r\n",
]

TRAILERS = [
    b"X : y", b"X", b": y", b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tz", b"X: y\nZ: z", b"X: y\rZ: z", b"X: \0",
    b"X: a\x01b", b"X: a\x7f", b"X\0: y", b"X\xa0: y", b"X Y: z", b"X;: y", b"X(: y",
    b"\x80: y", b"=: y", b"GET /smuggled HTTP/1.1", b"Host: evil", b"host: evil", b"HOST: evil", b"Host : evil",
    b" Host: evil", b"Content-Length: 5", b"content-length: 0",
    b"CONTENT-LENGTH:5", b"Content-Length : 5", b"Transfer-Encoding: chunked", b"transfer-encoding: identity",
    b"Transfer-Encoding:", b"Authorization: Basic eA==",
    b"authorization: x", b"Proxy-Authorization: Basic eA==", b"X: y\r\nContent-Length: 5", b"X: y\r\nHost: evil",
    b"X: y\r\nTransfer-Encoding: chunked\r\nZ: z",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"X: y\r\nZ", b"X: y\r\n: z", b"X: y\r\r\nZ: z", b"X: y\n\r\nZ: z",
    b"X:y\x0bz", b"X: \x1b[31m", b"X: y\r\n\0", b"[X]: y", b"\"X\": y", b"X: y\r\nHost: evil\r\nX: y",
]


def chunk(size, data=b"abc", end=b"\r\n"):
    return HEAD + size + b"\r\n" + data + end + LAST + INNER


def cases():
    found = []
    for size in SIZES:
        found.append(refuse(f"chunk/size/{label(size)}", chunk(size)))
        found.append(refuse(f"chunk/second-size/{label(size)}", HEAD + b"3\r\nabc\r\n" + size + b"\r\nabc\r\n" + LAST))
    for extension in EXTENSIONS:
        found.append(refuse(f"chunk/extension/{label(extension)}", chunk(b"3" + extension)))
        found.append(refuse(f"chunk/last-extension/{label(extension)}",
                     HEAD + b"3\r\nabc\r\n0" + extension + b"\r\n\r\n" + INNER))
    for end in CHUNK_ENDS:
        found.append(refuse(f"chunk/end/{label(end)}", chunk(b"3", end=end)))
    for end in LINE_ENDS:
        found.append(refuse(f"chunk/line-end/{label(end)}", HEAD + b"3" + end + b"abc\r\n" + LAST + INNER))
        found.append(refuse(f"chunk/last-line-end/{label(end)}", HEAD + b"3\r\nabc\r\n0" + end + b"\r\n" + INNER))
    for last in LAST_CHUNKS:
        found.append(refuse(f"chunk/last/{label(last)}", HEAD + b"3\r\nabc\r\n" + last + INNER))
    for trailer in TRAILERS:
        found.append(refuse(f"trailer/{label(trailer)}", HEAD + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n" + INNER))
    for byte in CONTROLS:
        if byte not in b"\t":
            b = bytes([byte])
            found.append(refuse(f"chunk/size-byte/{byte:02x}",
                         chunk(b"3" + b)) if byte != 0x0d else refuse(f"chunk/size-byte/{byte:02x}", chunk(b"3\r")))
            found.append(refuse(f"chunk/extension-byte/{byte:02x}", chunk(b"3;a" + b + b"b")))
            found.append(refuse(f"chunk/quoted-byte/{byte:02x}", chunk(b"3;a=\"" + b + b"\"")))
            found.append(refuse(f"trailer/value-byte/{byte:02x}", HEAD + b"0\r\nX: a" + b + b"b\r\n\r\n"))
            found.append(refuse(f"trailer/name-byte/{byte:02x}", HEAD + b"0\r\nX" + b + b": b\r\n\r\n"))
    for size, data in ((b"2", b"abc"), (b"4", b"abc"), (b"1", b"abc"), (b"0", b"abc"), (b"5", b"abc"), (b"6", b"abc")):
        found.append(refuse(f"chunk/other-size/{label(size)}",
                     HEAD + size + b"\r\n" + data + b"\r\nXYZ\r\n" + LAST * 3 + INNER))
    found.append(refuse("chunk/long-extension", chunk(b"3;a=" + b"b" * 20000)))
    found.append(refuse("chunk/many-extensions", chunk(b"3" + b";a=b" * 6000)))
    found.append(refuse("chunk/extensions-over-many-chunks", HEAD + (b"1;a=" + b"b" * 2000 + b"\r\nx\r\n") * 12 + LAST))
    found.append(refuse("trailer/too-large", HEAD + b"0\r\nX: " + b"y" * 40000 + b"\r\n\r\n"))
    found.append(refuse("trailer/too-many", HEAD + b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n", 400, 431))
    for cut in (b"", b"3", b"3\r", b"3\r\n", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r", b"3\r\nabc\r\n", b"3\r\nabc\r\n0",
                b"3\r\nabc\r\n0\r", b"3\r\nabc\r\n0\r\n",
                b"3\r\nabc\r\n0\r\n\r", b"0\r\nX: y", b"0\r\nX: y\r\n", b"7fffffffffffffff\r\nabc"):
        found.append(unfinished(f"unfinished/chunked/{label(cut)}", HEAD + cut))
    return found
