"""Independent readers of requests: h11, gunicorn's own parser, httptools.

read_NAME(bytes) gives ([(method, target, body), ...], reason): the requests it read, and why it read no further
("" at the end of the bytes, or of what may follow on this connection).
"""
import h11
import httptools
from gunicorn.config import Config
from gunicorn.http import RequestParser
from gunicorn.http.errors import NoMoreData

GUNICORN = Config()  # without the limits on sizes that would hide a reading
for _name, _value in {"limit_request_line": 0, "limit_request_fields": 32768, "limit_request_field_size": 0}.items():
    GUNICORN.set(_name, _value)
ANSWER = h11.Response(status_code=404, headers=[("Content-Length", "0")])  # switches nothing, not even for CONNECT


def read_h11(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    found = []
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append((bytes(request.method), bytes(request.target), body))
                connection.send(ANSWER)
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return found, "one request on HTTP/1.0" if request.http_version == b"1.0" else ""
                connection.start_next_cycle()
            elif event is h11.PAUSED:  # an upgrade was offered
                return found, "paused"
            else:
                return found, "" if isinstance(event, h11.ConnectionClosed) else "incomplete"
    except h11.RemoteProtocolError as refused:
        return found, str(refused)


def read_gunicorn(data):
    found = []
    try:
        for request in RequestParser(GUNICORN, iter([data]), ("192.0.2.1", 1)):
            found.append((request.method.encode("latin-1"), request.uri.encode("latin-1"), request.body.read()))
    except NoMoreData:
        return found, "incomplete"
    except Exception as refused:  # its errors have no common base; any of them is a 400
        return found, f"{type(refused).__name__} {refused}"
    return found, ""


class _HttptoolsRequest:
    def __init__(self, found):
        self.found, self.target, self.body, self.parser = found, b"", b"", None

    def on_message_begin(self):
        self.target, self.body = b"", b""

    def on_url(self, url):
        self.target += url

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.found.append((self.parser.get_method(), self.target, self.body))


def read_httptools(data):
    found = []
    request = _HttptoolsRequest(found)
    request.parser = httptools.HttpRequestParser(request)
    try:
        while data:
            try:
                request.parser.feed_data(data)
                return found, ""
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0]:]
                request.parser = httptools.HttpRequestParser(request)
    except httptools.HttpParserError as refused:
        return found, f"{type(refused).__name__} {refused}"
    return found, ""


READERS = {"h11": read_h11, "gunicorn": read_gunicorn, "httptools": read_httptools}
