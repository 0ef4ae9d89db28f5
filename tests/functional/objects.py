"""What the tests are made of: processes, backends, the proxy and its clients.

Nothing here waits a guessed time: `until` waits for a condition, and a deadline turns waiting in vain into a sentence.
Each process started is ended by its pid.
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SLOWPROXY_BIN", TOP / "build" / "slowproxy")).resolve()
SANITIZED = "asan" in str(BINARY) or "tsan" in str(BINARY)
PYTHON = "/usr/bin/python3"
DEMO = TOP / "config" / "demo"
APPS = pathlib.Path(__file__).resolve().parent / "apps"
PATIENCE = 20.0


class InVain(AssertionError):
    """A condition that did not come true in time."""


def until(condition, what, seconds=PATIENCE, step=0.01):
    """The first true value of condition(); InVain after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise InVain(f"waited {seconds:g} s in vain for {what}")
        time.sleep(step)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- processes as /proc shows them ----------------------------------------------------------------------------------------


def proc_stat(pid):
    """Fields of /proc/PID/stat after the name, or None when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2:].split()


def alive(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = proc_stat(entry)
            if stat and int(stat[1]) == pid and stat[0] not in "ZX":
                found.append(int(entry))
    return found


def cmdline_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_ticks(pid):
    """utime + stime, in clock ticks of all threads."""
    stat = proc_stat(pid)
    return int(stat[11]) + int(stat[12])


def context_switches(pid):
    """Voluntary and involuntary, of all threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        for line in pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def rss_bytes(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def peak_rss_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


class Process:
    """A program we started, its output in files, ended by pid with all its descendants."""

    started = []  # of the running test, for showing their logs when it fails
    expects_crash = False  # the test crashes it on purpose, so a sanitizer's word about it is no complaint

    def __init__(self, name, argv, folder, env=None, stdout=None, **options):
        self.name = name
        self.out_path = pathlib.Path(folder) / f"{name}.out"
        self.err_path = pathlib.Path(folder) / f"{name}.err"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLOWPROXY_", "OTEL_"))}
        environment.update(PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        self.popen = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout or open(self.out_path, "wb"),
            stderr=open(self.err_path, "wb"), env=environment, start_new_session=True, **options)
        Process.started.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def output(self):
        return self.out_path.read_text(errors="replace") if self.out_path.exists() else ""

    def errors(self):
        return self.err_path.read_text(errors="replace") if self.err_path.exists() else ""

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=PATIENCE):
        """Its exit status; InVain when it goes on."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise InVain(f"{self.name} (pid {self.pid}) did not end within {seconds:g} s") from None

    def stop(self, seconds=PATIENCE):
        family = descendants(self.pid) if self.running() else []
        if self.running():
            self.signal(signal.SIGTERM)
            with contextlib.suppress(InVain):
                self.wait(seconds)
        for pid in [self.pid, *family]:
            # Only what is still our family: the session we started it in.
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.pid or pid == self.pid and self.running():
                    os.kill(pid, signal.SIGKILL)
        self.popen.wait()


def descendants(pid):
    found = []
    for child in children_of(pid):
        found += [child, *descendants(child)]
    return found


# --- backends -------------------------------------------------------------------------------------------------------------


class Backend(Process):
    """A server behind the proxy; `address` as proxy.yaml wants it."""

    def __init__(self, name, argv, folder, address, ready="/", **options):
        super().__init__(name, argv, folder, **options)
        self.address = address
        try:
            until(lambda: self.answers(ready), f"{name} to answer on {address}")
        except InVain:
            self.stop()
            raise InVain(f"{name} did not start:\n{self.output()}{self.errors()}") from None

    def answers(self, path):
        if not self.running():
            raise InVain(f"{self.name} ended with status {self.popen.returncode}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return Client(self.address, timeout=5).get(path).status < 500
        return False


def uvicorn(folder, workers=1, uds=False, http_impl="auto", app="app:app", app_dir=DEMO, name="uvicorn", address=None, **options):
    address = address or (f"unix:{folder}/{name}.sock" if uds else f"127.0.0.1:{free_port()}")
    where = ["--uds", address[5:]] if uds else ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    argv = [PYTHON, "-m", "uvicorn", app, "--app-dir", app_dir, *where, "--workers", workers, "--http", http_impl,
            "--log-level", "warning", "--no-access-log"]
    return Backend(name, argv, folder, address, **options)


def gunicorn(folder, workers=1, worker_class="sync", app="wsgi_app:app", app_dir=APPS, name="gunicorn", **options):
    address = f"127.0.0.1:{free_port()}"
    argv = [PYTHON, "-m", "gunicorn", app, "--chdir", app_dir, "-b", address, "-w", workers, "-k", worker_class,
            "--log-level", "warning"]
    return Backend(name, argv, folder, address, **options)


def stdlib_python(folder, python, name="stdlib-python", script=APPS / "stdlib_app.py", **options):
    port = free_port()
    return Backend(name, [python, script, port], folder, f"127.0.0.1:{port}", **options)


def perl(folder):
    port = free_port()
    return Backend("perl", ["perl", APPS / "server.pl", port], folder, f"127.0.0.1:{port}")


class ScriptedBackend:
    """A raw socket server in this process: `script(connection)` runs in a thread for each connection accepted.

    A connection is a plain socket with the bytes of its last request head in `connection.head`.
    """

    def __init__(self, script, folder=None):
        self.script = script
        self.connections = []
        self.failures = []
        if folder:
            self.address = f"unix:{folder}/scripted.sock"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.address[5:])
            os.chmod(self.address[5:], 0o777)
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(plain)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.script(connection)
        except (OSError, EOFError):
            pass
        except Exception as failure:  # shown by the test
            self.failures.append(failure)
        finally:
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Connection:
    """A socket that reads by message parts."""

    def __init__(self, plain):
        self.socket = plain
        self.socket.settimeout(PATIENCE)
        self.left = b""
        self.closed = threading.Event()

    def read_until(self, mark):
        while mark not in self.left:
            got = self.socket.recv(65536)
            if not got:
                raise EOFError(self.left)
            self.left += got
        end = self.left.index(mark) + len(mark)
        taken, self.left = self.left[:end], self.left[end:]
        return taken

    def read_head(self):
        self.head = self.read_until(b"\r\n\r\n")
        return self.head

    def read_exactly(self, size):
        while len(self.left) < size:
            got = self.socket.recv(65536)
            if not got:
                raise EOFError(self.left)
            self.left += got
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def read_chunked(self):
        body = b""
        while True:
            size = int(self.read_until(b"\r\n").split(b";")[0], 16)
            body += self.read_exactly(size)
            if size == 0:
                self.read_until(b"\r\n")
                return body
            self.read_until(b"\r\n")

    def read_to_end(self):
        """Everything until the other side closes."""
        while True:
            got = self.socket.recv(65536)
            if not got:
                taken, self.left = self.left, b""
                return taken
            self.left += got

    def send(self, data):
        self.socket.sendall(data)

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self):
        if not self.closed.is_set():
            self.closed.set()
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR) if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER) == 0 else None
            self.socket.close()


def answer(body=b'{"ok":true}', status="200 OK", headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), headers, body)


def keep_answering(reply=None):
    """A script: answers each request without a body in the same way."""
    def script(connection):
        while True:
            connection.read_head()
            connection.send(reply or answer())
    return script


# --- clients --------------------------------------------------------------------------------------------------------------


class UnixHTTPConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Response:
    def __init__(self, response, body, seconds):
        self.status = response.status
        self.headers = response.msg  # get(name), get_all(name), items() in order
        self.body = body
        self.seconds = seconds  # request sent to head received, by the client's own clock

    def json(self):
        return json.loads(self.body)

    @property
    def response_time(self):
        return float(self.headers["X-Response-Time"])


class Client:
    """Plain HTTP/1.1 to one address. `get` and its kin make a connection each; `keep_alive` keeps one."""

    def __init__(self, address, timeout=PATIENCE):
        self.address = address
        self.timeout = timeout

    def _connect(self):
        if self.address.startswith("unix:"):
            return UnixHTTPConnection(self.address[5:], self.timeout)
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=self.timeout)

    @contextlib.contextmanager
    def keep_alive(self):
        connection = self._connect()
        try:
            yield lambda method, path, **rest: self._exchange(connection, method, path, **rest)
        finally:
            connection.close()

    def request(self, method, path, body=None, headers=None):
        with self.keep_alive() as exchange:
            return exchange(method, path, body=body, headers=headers)

    def _exchange(self, connection, method, path, body=None, headers=None):
        began = time.monotonic()
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        seconds = time.monotonic() - began
        return Response(response, response.read(), seconds)

    def get(self, path, **rest):
        return self.request("GET", path, **rest)

    def post(self, path, body, **rest):
        return self.request("POST", path, body=body, **rest)

    def raw(self):
        """A connected socket to speak through byte by byte."""
        if self.address.startswith("unix:"):
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(self.address[5:])
        else:
            host, _, port = self.address.rpartition(":")
            plain = socket.create_connection((host, int(port)))
        return Connection(plain)

    def exchange_raw(self, request):
        """Sends bytes, returns all that comes until the other side closes."""
        connection = self.raw()
        try:
            connection.send(request)
            return connection.read_to_end()
        finally:
            connection.close()


class Load:
    """wrk in the background; `finish` returns what it counted."""

    def __init__(self, address, folder, path="/", seconds=4, connections=8, name="wrk"):
        self.process = Process(name, ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
                                       f"http://{address}{path}"], folder)
        self.seconds = seconds

    def finish(self):
        assert self.process.wait(self.seconds + PATIENCE) == 0, self.process.errors()
        text = self.process.output()
        counted = {"requests": 0, "bad_status": 0, "socket_errors": 0, "text": text}
        for line in text.splitlines():
            words = line.replace(",", "").split()
            if "requests in" in line:
                counted["requests"] = int(words[0])
            elif "Non-2xx" in line:
                counted["bad_status"] = int(words[-1])
            elif "Socket errors" in line:
                counted["socket_errors"] = sum(int(w) for w in words if w.isdigit())
        return counted


# --- the proxy ------------------------------------------------------------------------------------------------------------


class Proxy(Process):
    """slowproxy with a configuration made of the defaults below and what the test says."""

    def __init__(self, folder, upstream, name="slowproxy", prefix=(), stdout=None, wait=True, binary=BINARY, env=None,
                 pass_fds=(), **settings):
        self.folder = pathlib.Path(folder)
        self.listen = settings.pop("listen", None) or f"127.0.0.1:{free_port()}"
        self.profiles = self.folder / f"{name}-profiles"
        self.profiles.mkdir(exist_ok=True)
        self.profiles.chmod(0o777)
        self.config = {
            "listen": self.listen,
            "upstream": getattr(upstream, "address", upstream),
            "slow": {"threshold": "300ms"},
            "capture": {"directory": str(self.profiles)},
            "admin": {"listen": "off"},
            "routes": {"openapi": "off"},
            "logs": {"slow": "stdout"},
        }
        self.config_path = self.folder / f"{name}.yaml"
        self.rewrite(**settings)
        super().__init__(name, [*prefix, binary, "-c", self.config_path], folder, env=env, stdout=stdout, pass_fds=pass_fds)
        self.client = Client(self.listen)
        if wait:
            try:
                until(self.accepts, f"slowproxy to listen on {self.listen}")
                until(lambda: self.role("proxy"), "the proxy process")
                if self.config["capture"].get("enabled", True):
                    until(lambda: self.role("sampler"), "the sampler process")
            except InVain as vain:
                self.stop()
                raise InVain(f"{vain}\n{self.output()}{self.errors()}") from None

    def rewrite(self, **settings):
        """Changes the file; HUP makes it count."""
        for key, value in settings.items():
            if isinstance(value, dict) and isinstance(self.config.get(key), dict):
                self.config[key].update(value)
            else:
                self.config[key] = value
        self.config_path.write_text(yaml.safe_dump(self.config, sort_keys=False))

    def accepts(self):
        if not self.running():
            raise InVain(f"slowproxy ended with status {self.popen.returncode}")
        with contextlib.suppress(OSError):
            self.client.raw().close()
            return True
        return False

    def main_pid(self):
        """The parent process, also when a wrapper such as setpriv started it (it execs, so it is the same pid)."""
        return self.pid

    def role(self, name):
        """The pid of the process with this role, or None. Told by its command line."""
        for pid in children_of(self.main_pid()):
            words = cmdline_of(pid)
            if f"--role={name}" in words or f"--role {name}" in words or words == f"slowproxy: {name}":
                return pid
        return None

    def lines(self):
        """All JSON lines on standard output so far."""
        found = []
        for line in self.output().splitlines():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def log(self):
        return self.output() + self.errors()

    def slow_lines(self, path=None, **fields):
        return [line for line in self.lines() if line.get("event") == "slow_request"
                and (path is None or line["url_path"] == path)
                and all(line.get(key) == value for key, value in fields.items())]

    def slow_line(self, path=None, **fields):
        """The slow line of this path; waits for it."""
        return until(lambda: self.slow_lines(path, **fields), f"the slow line of {path or 'a request'}")[0]


def profile_files(line):
    """{"html": path, "collapsed": path} of a slow line's profile: all files beside the one it names."""
    named = pathlib.Path(line["profile_file"])
    found = {}
    for path in named.parent.glob(named.stem + ".*"):
        text = path.read_text()
        found["html" if text.lstrip().lower().startswith("<!doctype html") else "collapsed"] = path
    return found


def line_of(path, text):
    """The number of the first line of a source file that contains text."""
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if text in line:
            return number
    raise AssertionError(f"{text!r} is not in {path}")
