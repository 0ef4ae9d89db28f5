"""Answers of broken and odd backends, played through the proxy: a 502, a cut, or the answer byte for byte."""
import asyncio
import json
import re
import socket
import zlib

import h11

from strict_play import pieces_of
from strict_rig import ask, read_answers, read_until

HOP = {b"connection", b"keep-alive", b"te", b"proxy-connection", b"http2-settings"}
FRAMING = {b"content-length", b"transfer-encoding"}
OURS = {b"x-response-time", b"x-request-id"}

# What h11 refuses in an answer although it is right: BWS in front of a chunk extension (RFC 9112 7.1.1).
H11_REFUSES = ("illegal chunk header",)


def read_h11_answer(method, data, closed):
    """((status, body), reason, whether the connection may go on) as h11 reads the final answer; None when it reads none."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    final, body = None, b""
    try:
        connection.receive_data(data)
        if closed:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                final = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                goes_on = connection.their_state is h11.DONE and not connection.trailing_data[0]
                return (final.status_code, body), "", goes_on
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None, "incomplete", False
    except h11.RemoteProtocolError as refused:
        return None, str(refused), False


def kept_lines(lines, dropped):
    """Header lines without those of one connection, of framing, and those named by Connection."""
    named = set(dropped) | HOP | FRAMING
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"connection":
            named |= {option.strip().lower() for option in value.split(b",")}
    return [line for line in lines if line.partition(b":")[0].lower() not in named]


def head_of(data):
    """The lines of the final head in what the backend sent."""
    while True:
        head, _, data = data.partition(b"\r\n\r\n")
        if not re.match(rb"HTTP/1\.[0-9] 1[0-9][0-9]", head):
            return head.split(b"\r\n")


class ResponseJudge:
    def __init__(self, rig):
        self.rig = rig
        self.runs = 0
        self.outcomes = {"502": 0, "504": 0, "cut": 0, "pass": 0}

    def script_of(self, lane, case, cuts):
        async def script(connection, received):
            loop = asyncio.get_running_loop()
            if self.must_not_be_reused(case):
                connection.spoiled_by = case.name
            try:
                for index, piece in enumerate(pieces_of(case.data, cuts)):
                    if index:
                        await lane.barrier()
                    await loop.sock_sendall(connection.socket, piece)
            except (BrokenPipeError, ConnectionResetError):
                return False  # the proxy has seen enough
            if case.then == "reset":
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return case.then == "hold" and not self.incomplete(case)
        return script

    @staticmethod
    def incomplete(case):
        """Of a mutant: no use in waiting until a timeout ends it."""
        return case.verdict == "" and read_h11_answer(case.method, case.data, False)[1] == "incomplete"

    @staticmethod
    def must_not_be_reused(case):
        if case.verdict == "":
            return not read_h11_answer(case.method, case.data, False)[2]
        return case.verdict != "pass" or not case.reused

    async def play(self, lane, item):
        case, cuts = item
        self.runs += 1
        rig, address = self.rig, self.rig.next_address()
        target = b"/answer/" + address.encode()
        rig.backend.scripts[target] = self.script_of(lane, case, cuts)
        plain = await rig.connect(address)
        try:
            await lane.send(plain, [b"%s %s HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n" % (case.method, target)])
            data, ended = await read_until(plain, lambda data: self.final(case, data, "") and self.final(case, data, "").whole)
            answers = read_answers(data, [case.method], ended)
            final = self.final(case, data, ended)
            self.judge(case, answers, final, ended, data)
            if not ended and final.header(b"connection") != b"close":
                await ask(plain, b"/next/" + address.encode())
        finally:
            plain.close()
            del rig.backend.scripts[target]
        await lane.fresh(address, b"/fresh/" + address.encode())
        rig.backend.seen.pop(address)

    @staticmethod
    def final(case, data, ended):
        finals = [a for a in read_answers(data, [case.method], ended) if not 100 <= a.status < 200]
        return finals[0] if finals else None

    @staticmethod
    def outcome_of(case, final):
        if final is None or not final.whole:
            return "cut"
        if final.status in (502, 504) and final.header(b"content-type") == b"application/json" and final.header(b"date"):
            error = "upstream_" if final.status == 502 else "timeout_response"
            assert case.method == b"HEAD" or json.loads(final.body)["error"].startswith(error)
            return str(final.status)
        return "pass"

    def judge(self, case, answers, final, ended, data):
        outcome = self.outcome_of(case, final)
        self.outcomes[outcome] += 1
        if case.verdict == "":
            self.judge_by_h11(case, outcome, final)
            return
        assert outcome == case.verdict, f"it is a {outcome}: {data[-400:]}, {ended!r}"
        if outcome == "cut":
            assert final is not None and final.status == case.status and ended in ("fin", "reset")
        if outcome != "pass":
            return
        assert (final.status, final.body) == (case.status, case.body), f"{data[-400:]}"
        assert tuple(a.status for a in answers if a.status < 200) == case.interim
        sent = head_of(case.data)
        status, reason = re.match(rb"HTTP/1\.[0-9] ([0-9]{3}) ?(.*)", sent[0], re.S).groups()
        assert final.head[0] == b"HTTP/1.1 " + status + b" " + reason
        dropped = () if case.status == 426 else (b"upgrade",)
        assert kept_lines(final.head[1:], (*dropped, *OURS)) == kept_lines(sent[1:], dropped)

    @staticmethod
    def judge_by_h11(case, outcome, final):
        """An answer that passes whole is the one that h11 reads, too."""
        if outcome != "pass":
            return
        read, reason, _ = read_h11_answer(case.method, case.data, case.then == "close" or ResponseJudge.incomplete(case))
        if read is None:
            assert any(re.search(known, reason) for known in H11_REFUSES), f"h11 refuses ({reason}) what passed as {final}"
        else:
            assert read == (final.status, final.body), f"h11 read {read}, the proxy {final}"


def response_cuts_of(case, count):
    size, seed = len(case.data), zlib.crc32(case.name.encode())
    if not case.cuttable or size < 2:
        return []
    places = [case.data.find(b"\r\n\r\n") + 3, seed % size, seed // 7 % size, case.data.find(b"\r\n") + 1]
    return list(dict.fromkeys(p for p in places if 0 < p < size))[:count]
