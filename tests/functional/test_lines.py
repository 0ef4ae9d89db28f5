"""The forms of a line: JSON whatever bytes come, logfmt, and colours on a terminal."""
import contextlib
import json
import os
import pty
import random
import re
import threading

import pytest

from objects import answer, until


CONTROLS = bytes(range(32)) + b"\x7f"
NOT_IN_A_PATH = CONTROLS + bytes(range(128, 256)) + b' "#<>?[\\]^`{|}'


def hostile_request(chance):
    """A request whose path, header and id hold random bytes; one in five also those that must be refused."""
    is_refused = chance.random() < 0.2

    def noise(most, refused):
        return bytes(b for b in chance.randbytes(chance.randrange(1, most)) if is_refused or b not in refused)

    head = b"GET /" + noise(chance.choice((20, 300, 6000)), NOT_IN_A_PATH) + b" HTTP/1.1\r\nHost: t\r\n"
    head += b"X-Request-ID: " + noise(200, CONTROLS) + b"\r\nUser-Agent: " + noise(2000, CONTROLS) + b"\r\n"
    return head + b"traceparent: 00-" + noise(60, CONTROLS) + b"\r\nConnection: close\r\n\r\n"


@pytest.mark.core
def test_a_line_is_valid_whatever_comes(make_proxy, scripted, folder):
    """400 requests with random bytes in path and headers: each line is UTF-8, one flat JSON object, below 12 KiB."""
    def answer_after_a_while(connection):
        connection.read_head()
        threading.Event().wait(0.003)
        connection.send(answer(headers=b"Connection: close\r\n"))

    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    access = os.path.join(folder, "access.log")
    os.close(os.open(access, os.O_CREAT, 0o666))
    os.chmod(access, 0o666)
    proxy = make_proxy(scripted(answer_after_a_while), slow={"threshold": "1ms"}, capture={"enabled": False}, logs={"access": access})
    statuses = []
    for _ in range(400):
        with contextlib.suppress(OSError):  # a refused request may be answered by a reset
            statuses.append(proxy.client.exchange_raw(hostile_request(chance))[9:12])

    def written():
        with open(access, "rb") as file:
            return file.read().split(b"\n")[:-1]

    proxy.client.get("/the-end")
    until(lambda: any(b'"/the-end"' in line for line in written()), "the last line")
    lines = written() + proxy.out_path.read_bytes().split(b"\n")[:-1]
    for line in lines:
        assert len(line) < 12 * 1024, seed
        fields = json.loads(line.decode("utf-8"))  # strict: raises for what is not UTF-8
        assert all(isinstance(value, (str, int, float, bool)) for value in fields.values()), (seed, line)
    answered, refused = statuses.count(b"200"), statuses.count(b"400")
    print(f"seed {seed}: {len(lines)} lines of {answered} answered and {refused} refused requests")
    assert len(lines) >= 2 * answered > 200 and refused > 20, (seed, len(lines), answered, refused)


def logfmt(line):
    """An independent reader: name=bare or name="JSON text"."""
    fields = {}
    for name, text in re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)', line):
        fields[name] = json.loads(text) if text.startswith('"') else text
    return fields


def test_logfmt_says_what_json_says(proxy, demo_app, make_proxy):
    """The slow line, the access line and the program's own lines as name=value: the keys of the JSON line, each value readable."""
    proxy.client.get("/blocking?seconds=0.4")
    json_line = proxy.slow_line("/blocking")
    other = make_proxy(demo_app, name="logfmt", logs={"format": "logfmt", "access": "stdout"})
    other.client.get("/blocking?seconds=0.4", headers={"X-Request-ID": 'say="hi"'})
    lines = until(lambda: [logfmt(line) for line in other.output().splitlines()] if len(other.output().splitlines()) >= 2 else None,
                  "two lines")
    slow = next(line for line in lines if line["event"] == "slow_request")
    access = next(line for line in lines if line["event"] == "request")
    may_differ = {"unseen_ms", "cpu_ms", "await_ms", "connect_ms", "gc_ms", "gil_wait_ms", "capture_reason"}
    assert set(slow) ^ set(json_line) <= may_differ, set(slow) ^ set(json_line)
    assert slow["request_id"] == access["request_id"] == 'say="hi"'
    assert slow["code_function_name"] == json_line["code_function_name"] and float(slow["duration_ms"]) >= 400
    assert access["http_response_status_code"] == "200" and "cause" not in access
    own = [logfmt(line) for line in other.errors().splitlines()]
    assert any(line["event"] == "log" and line["msg"].startswith("ready: ") for line in own), own


def test_auto_is_for_a_person_on_a_terminal_and_json_elsewhere(demo_app, make_proxy, folder):
    """logs.format: auto - on a terminal the slow request in colours, in a file one JSON object a line."""
    ours, theirs = pty.openpty()
    access = os.path.join(folder, "auto.log")
    os.close(os.open(access, os.O_CREAT, 0o666))
    os.chmod(access, 0o666)
    proxy = make_proxy(demo_app, stdout=theirs, logs={"format": "auto", "access": access})
    os.close(theirs)
    proxy.client.get("/blocking?seconds=0.4")
    shown = b""
    while b"flame graph" not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    text = shown.decode()
    assert "\x1b[1;41;97m SLOW " in text and "call_legacy_service" in text and "<- here" in text, text
    with open(access, encoding="utf-8") as file:
        assert json.loads(file.readline())["url_path"] == "/blocking"
