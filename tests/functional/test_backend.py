"""slowproxy -- COMMAND: the app as our child: told its port, started again when it dies, ended after the last request."""
import os
import pathlib
import signal
import subprocess
import threading

import pytest
import yaml

from objects import APPS, BINARY, DEMO, PYTHON, Client, Process, alive, children_of, cmdline_of, free_port, until

PORT_APP = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Started(Process):
    """slowproxy with a command; `client` speaks to it."""

    def __init__(self, folder, *command, arguments=(), env=None, name="slowproxy"):
        self.listen = f"127.0.0.1:{free_port()}"
        super().__init__(name, [BINARY, *arguments, "--listen", self.listen, "--admin.listen", "off", "--capture.enabled", "false",
                                "--slow.threshold", "30s", "--", *command], folder, env=env, cwd=DEMO)
        self.client = Client(self.listen)

    def log(self):
        return self.output() + self.errors()

    def answers(self, path="/"):
        assert self.running(), self.errors()
        try:
            return self.client.get(path).status == 200
        except OSError:
            return False

    def backend(self):
        """The pid of the app: the child that is no part of us."""
        others = [pid for pid in children_of(self.pid) if "slowproxy" not in cmdline_of(pid)]
        return others[0] if others else None


UVICORN = [PYTHON, "-m", "uvicorn", "app:app"]


@pytest.mark.core
def test_an_app_and_no_file(folder):
    """uvicorn gets a free port and is reached; TERM answers the request under way, then ends uvicorn, and nothing is left."""
    proxy = Started(folder, *UVICORN)
    until(proxy.answers, "the app to answer")
    backend = proxy.backend()
    words = cmdline_of(backend).split()
    assert words[-2] == "--port" and words[-1].isdigit() and os.getpgid(backend) == backend
    answers = []
    asking = threading.Thread(target=lambda: answers.append(proxy.client.get("/blocking?seconds=1.5")))
    asking.start()
    until(lambda: "/blocking" in proxy.output() or proxy_has_request(proxy), "the request to be under way")
    proxy.signal(signal.SIGTERM)
    asking.join(30)
    assert answers and answers[0].status == 200
    assert proxy.wait() == 0 and not alive(backend)
    assert "Application shutdown complete" in proxy.log()


def proxy_has_request(proxy):
    """A connection from the proxy to the app is established: more than none in the kernel's table for its port."""
    port = int(cmdline_of(proxy.backend()).split()[-1])
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_us_ends_the_app(folder, number):
    """INT, and even KILL: the app does not outlive us."""
    proxy = Started(folder, *UVICORN)
    until(proxy.answers, "the app to answer")
    backend = proxy.backend()
    proxy.signal(number)
    proxy.wait()
    until(lambda: not alive(backend), "the app to end")


@pytest.mark.core
def test_an_app_that_dies_is_started_again(folder):
    """Killed twice, it is back twice, and that is told with the time until then, which grows."""
    proxy = Started(folder, *UVICORN)
    for times in (1, 2):
        until(proxy.answers, "the app to answer")
        until(lambda: proxy.log().count("listens on") >= times, "that to be told")
        backend = proxy.backend()
        os.kill(backend, signal.SIGKILL)
        until(lambda: proxy.log().count("it is started anew in") == times, "its end to be told")
    until(proxy.answers, "the app to answer again")
    assert "anew in 0.1 s" in proxy.log() and "anew in 0.2 s" in proxy.log()


@pytest.mark.parametrize("command, status, sentence", [
    (["/no/such/program"], 127, "cannot run /no/such/program: No such file or directory"),
    (["/etc/passwd"], 126, "cannot run /etc/passwd: Permission denied"),
    ([PYTHON, "-c", "raise SystemExit(3)"], 3, "ended with status 3 before it listened"),
    ([PYTHON, "-c", "import os; os.kill(os.getpid(), 9)"], 137, "ended with signal 9 before it listened"),
    ([*UVICORN[:-1], "nosuch:app"], 1, "ended with status 1 before it listened"),
    ([PYTHON, "-c", "pass"], 0, "has ended by itself"),
])
def test_an_app_that_cannot_run(folder, command, status, sentence):
    """Its status becomes ours, as a shell would give it, and a sentence says so."""
    proxy = Started(folder, *command)
    assert proxy.wait() == status and sentence in proxy.log(), proxy.log()


def test_nothing_to_start(folder):
    """-- with nothing after it is a mistake, told so."""
    run = subprocess.run([BINARY, "--"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2 and "what is to be started?" in run.stderr


def test_a_server_we_do_not_know_is_told_by_PORT(folder):
    """PORT in its environment is the port we expect it at, whatever it was before."""
    proxy = Started(folder, PYTHON, "-c", PORT_APP, env={"PORT": "1"})
    until(proxy.answers, "the app to answer")


@pytest.mark.parametrize("command", [
    [PYTHON, "-m", "uvicorn", "app:app", "--port={port}", "--host", "0.0.0.0"],
    [PYTHON, "-m", "uvicorn", "app:app", "--uds", "{folder}/app.sock"],
    [PYTHON, "-m", "gunicorn", "wsgi_app:app", "--chdir", APPS],
    [PYTHON, "-m", "hypercorn", "app:app", "--bind", "127.0.0.1:{port}"],
], ids=["uvicorn-port", "uvicorn-uds", "gunicorn", "hypercorn-bind"])
def test_where_the_command_says_it_listens(folder, command):
    """The address is taken from the command's own options; a server without one is given one."""
    port = free_port()
    os.chmod(folder, 0o777)
    proxy = Started(folder, *[str(word).format(port=port, folder=folder) for word in command])
    until(proxy.answers, "the app to answer")


@pytest.mark.parametrize("named", [True, False])
def test_with_a_file(folder, named):
    """With an upstream in the file the app is told that port; without one the file still counts for all the rest."""
    port = free_port()
    path = pathlib.Path(folder) / "proxy.yaml"
    path.write_text(yaml.safe_dump({"service": "shop", **({"upstream": f"127.0.0.1:{port}"} if named else {})}))
    proxy = Started(folder, *UVICORN, arguments=["-c", path])
    until(proxy.answers, "the app to answer")
    assert (cmdline_of(proxy.backend()).split()[-1] == str(port)) == named
    assert '"service_name":"shop"' in proxy.log()
    os.kill(proxy.pid, signal.SIGHUP)
    until(lambda: "reload: new requests see" in proxy.log(), "the reload")
    until(proxy.answers, "the app to answer after a reload")


def test_an_address_that_is_taken(folder, scripted):
    """Something listens where the app should: that is told, and the app is not started."""
    other = scripted(lambda connection: None)
    proxy = Started(folder, *UVICORN, "--port", other.address.rpartition(":")[2])
    assert proxy.wait() == 1 and f"something listens on {other.address} already" in proxy.log()
