"""The Debian package: lintian finds no error, it installs, runs behind the fences of its unit, and leaves nothing behind."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "containers"))
from containers import Container, bind, host_root, until  # noqa: E402
from image import debootstrap  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SLOWPROXY_BUILD", TOP / "build"))
UNIT = TOP / "config" / "systemd" / "slowproxy.service"
APP = TOP / "tests" / "functional" / "apps" / "stdlib_app.py"


def need(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")


@pytest.fixture(scope="module")
def package():
    need("cpack", "dpkg-shlibdeps")
    for old in BUILD.glob("slowproxy_*.deb"):
        old.unlink()
    subprocess.run(["cpack", "-G", "DEB"], cwd=BUILD, check=True, stdout=subprocess.DEVNULL)
    found = list(BUILD.glob("slowproxy_*.deb"))
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def installed(package):
    """A Debian 12 in which the package is installed."""
    need("debootstrap", "runc", "nsenter", "curl")
    if os.getuid() != 0:
        pytest.skip("only root can install packages")
    base = BUILD / "containers" / "debian-12"
    try:
        debootstrap(base, seconds=240)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"debootstrap cannot make a Debian 12 here: {error}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slowproxy-package-"))
    folder.chmod(0o755)
    root = folder / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    shutil.copy(package, root / "slowproxy.deb")
    inside(root, "dpkg", "-i", "/slowproxy.deb")
    yield root
    subprocess.run(["rm", "-rf", folder], check=False)


def inside(root, *command, check=True):
    return subprocess.run(["chroot", root, *command], check=check, capture_output=True, text=True)


def unit_lines(key):
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.M)


def test_lintian(package):
    """No error; and what it warns of is what we know of."""
    need("lintian")
    said = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True).stdout
    known = "initial-upload-closes-no-bugs", "maintainer-script-calls-systemctl"
    assert not [line for line in said.splitlines() if line.startswith("E:")], said
    assert not [line for line in said.splitlines() if line.startswith("W:") and not any(k in line for k in known)], said


@pytest.mark.parametrize("page", ["8", "5"])
def test_manual_pages(page):
    """mandoc and groff have nothing to say of the pages; every key and every command stands in them."""
    need("mandoc", "man")
    roff = subprocess.run([BUILD / "slowproxy", "manual", page], check=True, capture_output=True, text=True).stdout
    said = subprocess.run(["mandoc", "-Tlint"], input=roff, capture_output=True, text=True).stdout
    assert said == "", said
    with tempfile.NamedTemporaryFile("w", suffix=f".{page}") as file:
        file.write(roff)
        file.flush()
        said = subprocess.run(["man", "--warnings", "-l", "-Z", "-Tutf8", file.name], capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C.UTF-8"}).stderr
    assert said == "", said
    if page == "5":
        keys = re.findall(r"^### `(.*)`$", (TOP / "config" / "REFERENCE.md").read_text(), re.M)
        assert len(keys) > 30 and all("\\fB%s\\fR" % key in roff for key in keys)
    else:
        help_text = subprocess.run([BUILD / "slowproxy", "--help"], check=True, capture_output=True, text=True).stdout
        commands = re.findall(r"^       slowproxy ([a-z]+) ", help_text, re.M)
        assert commands and all(f"\\fBslowproxy {command}\\fR" in roff for command in commands)


def test_installed_files(installed):
    """The user is there, the configuration is a conffile and good, the unit and its program are where they say."""
    assert inside(installed, "id", "-u", "slowproxy").stdout.strip().isdigit()
    conffiles = inside(installed, "dpkg-query", "-W", "-f", "${Conffiles}", "slowproxy").stdout
    assert "/etc/slowproxy/proxy.yaml" in conffiles and "/etc/logrotate.d/slowproxy" in conffiles
    inside(installed, "slowproxy", "-t", "-c", "/etc/slowproxy/proxy.yaml")
    assert unit_lines("ExecStart") == ["/usr/bin/slowproxy -c /etc/slowproxy/proxy.yaml"]
    for path in ("usr/bin/slowproxy", "lib/systemd/system/slowproxy.service", "usr/share/man/man8/slowproxy.8.gz",
                 "usr/share/bash-completion/completions/slowproxy", "usr/share/zsh/vendor-completions/_slowproxy",
                 "usr/share/fish/vendor_completions.d/slowproxy.fish"):
        assert (installed / path).stat().st_size > 100, path


def syscalls_of_unit():
    """The names behind SystemCallFilter=, groups unfolded by systemd itself."""
    need("systemd-analyze")
    names, queue = set(), unit_lines("SystemCallFilter")[0].split()
    while queue:
        word = queue.pop()
        if not word.startswith("@"):
            names.add(word)
            continue
        listed = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True).stdout
        queue += [line.strip() for line in listed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return names


def seccomp_of_unit():
    families = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
    numbers = [families[name] for name in unit_lines("RestrictAddressFamilies")[0].split()]
    # What runc itself does between setting the filter and starting the program.
    for_runc = {"capset", "capget", "fchdir", "setgroups", "exit_group", "futex", "openat2", "faccessat2"}
    names = sorted(syscalls_of_unit() - {"socket"} | for_runc)
    sockets = [{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": n, "op": "SCMP_CMP_EQ"}]}
               for n in numbers]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}, *sockets]}


def test_behind_the_fences_of_the_unit(installed):
    """User=, capabilities, system calls and address families of the unit: slowproxy says READY and explains an app of another user."""
    folder = installed.parent
    uid = int(inside(installed, "id", "-u", "slowproxy").stdout)
    caps = unit_lines("AmbientCapabilities")[0].split()
    assert caps == unit_lines("CapabilityBoundingSet")[0].split() and unit_lines("NoNewPrivileges") == ["yes"]
    state = folder / "state"
    state.mkdir()
    os.chown(state, uid, uid)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(folder / "notify"))
    (folder / "notify").chmod(0o777)
    heard.settimeout(20)
    (folder / "mnt").mkdir()
    proxy = Container(folder, "unit", installed, ["/usr/bin/slowproxy", "-c", "/etc/slowproxy/proxy.yaml", "--slow.threshold", "200ms"],
                      uid, caps=caps, ambient=True, no_new_privileges=True, read_only=True, seccomp=seccomp_of_unit(),
                      mounts=[bind(state, "/var/lib/slowproxy", "rw"), bind(folder / "notify", "/tmp/notify", "rw")],
                      env=["NOTIFY_SOCKET=/tmp/notify"])
    app = None
    try:
        said = b""
        while b"READY=1" not in said:
            said = heard.recv(4096)
        root, mounts = host_root(folder / "app")
        app = Container(folder, "app", root, ["/usr/bin/python3", "/srv/app.py", 8000], 2000, join=proxy,
                        mounts=[*mounts, bind(APP, "/srv/app.py")])
        until(lambda: proxy.curl("http://127.0.0.1:8080/", "-f"), "the app behind the proxy")
        assert proxy.curl("http://127.0.0.1:8080/blocking?seconds=0.4", "-f")
        line = until(lambda: [one for one in proxy.lines() if one.get("event") == "slow_request"], "the slow line")[0]
        assert line["capture_status"] in ("ok", "partial"), (line, proxy.said())
        doctor = json.loads(proxy.run("/usr/bin/slowproxy", "doctor", "--json").stdout)
        assert doctor["ok"], doctor
        until(lambda: list(state.glob("**/*.html")), "the profile's page")
    finally:
        for container in (app, proxy):
            if container is not None:
                container.stop()
        heard.close()


def test_removed_and_purged(installed):
    """Removing keeps the configuration, purging does not; then nothing of the package is left but its user."""
    (installed / "var/lib/slowproxy").mkdir(exist_ok=True)
    inside(installed, "dpkg", "-r", "slowproxy")
    assert (installed / "etc/slowproxy/proxy.yaml").exists() and not (installed / "usr/bin/slowproxy").exists()
    inside(installed, "dpkg", "-P", "slowproxy")
    for path in ("etc/slowproxy", "etc/logrotate.d/slowproxy", "var/lib/slowproxy", "lib/systemd/system/slowproxy.service"):
        assert not (installed / path).exists(), path
