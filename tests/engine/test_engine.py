"""The image, docker/compose.yaml and the README's recipe for one container, in a real Docker engine with the real Compose.

Minutes, and some packages of Debian: tests/run.sh runs it when it is named. The engine is our own: no network but the machine's
own while images are built, none for containers but their loopback. In place of the images that registries would give stand a
Debian 13 made by debootstrap and, for python:3.12-slim, that with Debian's Python.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "containers"))
from containers import until  # noqa: E402

HERE = pathlib.Path("/var/tmp/slowproxy-engine")  # kept for the next time; outside of what images are built from
PYTHON_IMAGE = """
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip python3-fastapi python3-uvicorn uvicorn curl
ENV PIP_BREAK_SYSTEM_PACKAGES=1
"""
COMPOSE_IMAGE = """
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends docker-compose
ENTRYPOINT ["docker-compose"]
"""
# There is no bridge here, and nobody to publish ports to.
OVERRIDE = """
services:
  slowproxy: { build: { network: host }, network_mode: none, ports: !reset [] }
  app: { build: { network: host } }
"""
# The recipe of the README, with what it leaves to the reader.
ONE_CONTAINER = """
FROM python:3.12-slim
RUN apt-get install -y --no-install-recommends %s
COPY app.py /srv/app.py
WORKDIR /srv
USER 1000:1000
%s
"""


class Engine:
    def __init__(self):
        self.socket = HERE / "docker.sock"
        HERE.mkdir(parents=True, exist_ok=True)
        self.log = open(HERE / "log", "w")
        self.popen = subprocess.Popen(
            ["dockerd", f"--data-root={HERE}/data", f"--exec-root={HERE}/exec", f"--host=unix://{self.socket}", f"--pidfile={HERE}/pid",
             "--iptables=false", "--ip6tables=false", "--bridge=none"], stdout=self.log, stderr=self.log)
        try:
            until(self.answers, "the engine", 30)
        except AssertionError:
            self.close()
            raise

    def answers(self):
        assert self.popen.poll() is None, "dockerd ended"
        return self.run("info", check=False, environment={}).returncode == 0

    def run(self, *arguments, check=True, text=None, environment=None):
        done = subprocess.run(["docker", "--host", f"unix://{self.socket}", *map(str, arguments)], input=text, capture_output=True,
                              text=True, timeout=600, env={**os.environ, **(environment or {})})
        assert not check or done.returncode == 0, (arguments, done.stdout[-3000:], done.stderr[-3000:])
        return done

    def build(self, name, dockerfile, context=None):
        """dockerfile: its text, or its path below the context."""
        if context is None:
            return self.run("build", "--network=host", "--tag", name, "-", text=dockerfile)
        return self.run("build", "--network=host", "--tag", name, "--file", dockerfile, context)

    def compose(self, *arguments):
        return self.run("run", "--rm", "--network=none", f"--volume={self.socket}:/var/run/docker.sock", f"--volume={TOP}:{TOP}:ro",
                        f"--volume={HERE}:{HERE}:ro", "compose", "-f", TOP / "docker/compose.yaml", "-f", HERE / "override.yaml", *arguments)

    def close(self):
        self.popen.terminate()
        try:
            self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()


@pytest.fixture(scope="module")
def engine():
    missing = [tool for tool in ("dockerd", "docker", "debootstrap") if shutil.which(tool) is None]
    if os.getuid() != 0 or missing:
        pytest.skip("only root can start an engine" if not missing else f"not installed: {' '.join(missing)} (Debian: docker.io, debootstrap)")
    try:
        made = Engine()
    except AssertionError as error:
        pytest.skip(f"dockerd does not run here: {error}; see {HERE}/log")
    try:
        if not made.run("images", "--quiet", "debian:trixie-slim").stdout:
            import_debian(made)
        made.build("python:3.12-slim", PYTHON_IMAGE)
        made.build("compose", COMPOSE_IMAGE)
        yield made
    finally:
        containers = made.run("ps", "--all", "--quiet", check=False).stdout.split()
        made.run("rm", "--force", "--volumes", *containers, check=False)
        made.close()


def import_debian(engine):
    root, archive = HERE / "debian-13", HERE / "debian-13.tar"
    shutil.rmtree(root, ignore_errors=True)
    try:
        subprocess.run(["debootstrap", "--variant=minbase", "trixie", root, "http://deb.debian.org/debian"], check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        pytest.skip("debootstrap cannot make a Debian 13 here")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    engine.run("import", archive, "debian:trixie-slim")
    shutil.rmtree(root)
    archive.unlink()


@pytest.fixture(scope="module")
def image(engine):
    """`docker build -f docker/Dockerfile -t slowproxy .`, as the README says."""
    engine.build("slowproxy", TOP / "docker/Dockerfile", TOP)
    return json.loads(engine.run("inspect", "slowproxy").stdout)[0]["Config"]


def said(engine, container):
    return [json.loads(line) for line in engine.run("logs", container).stdout.splitlines() if line.startswith("{")]


def slow_line(engine, container, curl_in):
    """Makes a slow request, and returns the line that tells of it."""
    before = len(said(engine, container))
    until(lambda: engine.run("exec", curl_in, "curl", "-fsS", "http://127.0.0.1:8080/", check=False).returncode == 0, "the app behind slowproxy")
    engine.run("exec", curl_in, "curl", "-fsS", "http://127.0.0.1:8080/blocking?seconds=0.8")
    return until(lambda: [line for line in said(engine, container)[before:] if line.get("event") == "slow_request"], "the slow line")[0]


def explains(line):
    assert line["capture_status"] in ("ok", "partial") and line["cause"] == "blocking_call", line
    assert line["code_function_name"] == "call_legacy_service" and line["http_route"] == "/blocking", line
    return True


def test_the_image(engine, image):
    """The whole Dockerfile builds; the program in it knows its configuration; its capability is permitted, never effective."""
    assert image["User"] == "1000:1000" and image["StopSignal"] == "SIGTERM" and image["Healthcheck"]["Test"][-1] == "healthcheck"
    engine.run("run", "--rm", "--network=none", "slowproxy", "-t", "-c", "/etc/slowproxy/proxy.yaml")
    marked = engine.run("run", "--rm", "--network=none", "--entrypoint=getcap", "slowproxy", "/usr/bin/slowproxy").stdout
    assert marked.split()[1:] == ["cap_sys_ptrace=p"], marked


def test_compose(engine, image):
    """docker/compose.yaml is understood by Compose; its slowproxy becomes healthy and explains its app, also when that was started
    again alone; doctor agrees; SIGTERM ends it."""
    (HERE / "override.yaml").write_text(OVERRIDE)
    engine.compose("config", "--quiet")
    engine.compose("up", "--detach", "--build", "slowproxy", "app")
    proxy, app = "slowproxy-demo-slowproxy-1", "slowproxy-demo-app-1"
    first = slow_line(engine, proxy, app)
    assert explains(first)
    doctor = json.loads(engine.run("exec", proxy, "slowproxy", "doctor", "--json").stdout)
    assert doctor["ok"] and {one["capture_status"] for one in doctor["processes"]} == {"ok"}
    until(lambda: engine.run("inspect", "--format={{.State.Health.Status}}", proxy).stdout.strip() == "healthy", "the health check", 30)
    engine.run("restart", "--time=1", app)
    second = slow_line(engine, proxy, app)
    assert explains(second) and second["worker_pid"] != first["worker_pid"]
    began = time.monotonic()
    engine.run("stop", "--time=20", app, proxy)
    assert time.monotonic() - began < 15
    assert engine.run("inspect", "--format={{.State.ExitCode}}", proxy).stdout.strip() == "0"


def test_one_container(engine, image):
    """The README's recipe: slowproxy, copied into the image of the app, starts it, explains it, and ends with it."""
    recipe, = re.findall(r"```dockerfile\n(.*?)```", (TOP / "README.md").read_text(), re.S)
    libraries = re.search(r'RUNTIME_PACKAGES="([^"]*)"', (TOP / "docker/Dockerfile").read_text())[1]
    (HERE / "Dockerfile").write_text(ONE_CONTAINER % (libraries, recipe))
    engine.build("one", HERE / "Dockerfile", TOP / "config/demo")
    container = engine.run("run", "--detach", "--network=none", "one").stdout.strip()
    assert explains(slow_line(engine, container, container))
    engine.run("stop", "--time=20", container)
    assert engine.run("inspect", "--format={{.State.ExitCode}}", container).stdout.strip() == "0"
