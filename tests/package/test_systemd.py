"""The installed package under a real systemd, PID 1 of a container: it starts, explains, reloads, is upgraded, holds its socket, and stops."""
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from test_package import APP, Container, bind, host_root, inside, installed, package, until  # noqa: F401 (two are fixtures)

LOAD = """
import sys, urllib.request
good = 0
for _ in sys.stdin:  # until it is closed
    with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=15) as answer:
        good += answer.status == 200
    print(good, flush=True)
"""


def capabilities_here():
    """All that this machine can give: systemd wants more than Docker's default."""
    bits = int(re.search(r"CapBnd:\s*(\w+)", pathlib.Path("/proc/self/status").read_text())[1], 16)
    listed = subprocess.run(["capsh", f"--decode={bits:x}"], check=True, capture_output=True, text=True).stdout
    return [name.upper() for name in listed.strip().split("=", 1)[1].split(",")]


@pytest.fixture
def machine(installed):  # noqa: F811
    """A container whose PID 1 is Debian's systemd, in the root where the package is installed."""
    done = inside(installed, "sh", "-c", "apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv curl", check=False)
    if done.returncode != 0:
        pytest.skip(f"systemd cannot be installed here: {done.stderr[-200:]}")
    fence = installed / "etc/systemd/system/slowproxy.service.d"
    fence.mkdir(parents=True)
    (fence / "here.conf").write_text("[Service]\nLimitNOFILE=1024\n")  # a container may not raise it
    made = Container(
        installed.parent, "systemd", installed, ["/lib/systemd/systemd", "--show-status=0"], 0, caps=capabilities_here(), env=["container=oci"],
        mounts=[{"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}])
    try:
        try:
            until(lambda: made.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), "systemd to be up", 30)
        except AssertionError as error:
            pytest.skip(f"systemd does not run in a container here: {error}; {made.said()[-300:]}")
        yield made
    finally:
        made.stop()
        shutil.rmtree(fence)


def asked(machine, what):
    return machine.run("systemctl", "show", "slowproxy", f"--property={what}", "--value").stdout.strip()


def journal(machine):
    return machine.run("journalctl", "--no-pager", "--output=cat", "--unit=slowproxy").stdout.splitlines()


class Traffic:
    """A request for each word; one that fails ends it."""

    def __init__(self, machine):
        self.popen = subprocess.Popen(["nsenter", "-t", str(machine.pid), "-n", "/usr/bin/python3", "-c", LOAD], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def until(self, condition, what):
        def step():
            self.popen.stdin.write("\n")
            self.popen.stdin.flush()
            assert self.popen.stdout.readline(), "a request failed"
            return condition()
        return until(step, what, 30)

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(20)


def test_under_systemd(machine):
    """Type=notify; a slow request in the journal; a reload and an upgrade without a failed request; a bad file fails the reload and
    changes nothing; with the socket unit a restart refuses nobody; a stop is clean."""
    root, mounts = host_root(machine.bundle / "app")
    app = Container(machine.bundle, "app", root, ["/usr/bin/python3", "/srv/app.py", 8000], 2000, join=machine, mounts=[*mounts, bind(APP, "/srv/app.py")])
    traffic = None
    try:
        started = machine.run("systemctl", "start", "slowproxy")
        assert started.returncode == 0, (started, journal(machine))
        assert asked(machine, "StatusText") == "forwarding to 127.0.0.1:8000"
        until(lambda: machine.curl("http://127.0.0.1:8080/", "-f"), "the app behind the proxy")
        machine.curl("http://127.0.0.1:8080/blocking?seconds=0.7")
        line = json.loads(until(lambda: [one for one in journal(machine) if '"slow_request"' in one], "the slow line in the journal")[0])
        assert line["capture_status"] in ("ok", "partial") and line["code_function_name"] == "call_legacy_service", line
        assert machine.run("test", "-s", line["profile_file"]).returncode == 0

        traffic = Traffic(machine)
        config = "/etc/slowproxy/proxy.yaml"
        machine.run("sed", "-i", "s/threshold: 500ms/threshold: 300ms/", config)
        assert machine.run("systemctl", "reload", "slowproxy").returncode == 0
        traffic.until(lambda: [one for one in journal(machine) if "slow from 0.300 s on" in one], "the new threshold")
        machine.run("sed", "-i", "s/threshold:/treshold:/", config)
        assert machine.run("systemctl", "reload", "slowproxy").returncode != 0
        assert any("did you mean threshold?" in one for one in journal(machine)) and asked(machine, "ActiveState") == "active"
        machine.run("sed", "-i", "s/treshold:/threshold:/", config)
        before = asked(machine, "MainPID")
        machine.run("systemctl", "kill", "-s", "USR2", "--kill-whom=main", "slowproxy")
        traffic.until(lambda: asked(machine, "MainPID") != before and asked(machine, "ActiveState") == "active", "the new main process")
        traffic.until(lambda: machine.run("test", "-d", f"/proc/{before}").returncode != 0, "the end of the old one")

        traffic.close()
        machine.run("systemctl", "stop", "slowproxy")
        assert asked(machine, "Result") == "success" and asked(machine, "ExecMainStatus") == "0", (asked(machine, "Result"), asked(machine, "ExecMainStatus"), machine.run("journalctl", "--no-pager", "-n", "30", "-o", "short-monotonic").stdout)
        assert machine.run("systemctl", "start", "slowproxy.socket").returncode == 0
        assert machine.curl("http://127.0.0.1:8080/", "-f"), "the first request starts the service"
        traffic = Traffic(machine)
        before = asked(machine, "MainPID")
        restart = subprocess.Popen(["runc", "exec", machine.name, "systemctl", "restart", "slowproxy"])
        traffic.until(lambda: asked(machine, "MainPID") not in (before, "0") and asked(machine, "ActiveState") == "active", "the restart")
        assert restart.wait(20) == 0
    finally:
        if traffic is not None:
            traffic.close()
        app.stop()
