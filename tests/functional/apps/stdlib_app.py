"""A server that needs nothing but the standard library, so that any Python can run it: stdlib_app.py PORT"""
import http.server
import json
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/blocking":
            call_legacy_service(float(query.partition("=")[2] or 0))
        body = json.dumps({"pid": os.getpid(), "python": sys.version.split()[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def call_legacy_service(seconds):
    time.sleep(seconds)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
