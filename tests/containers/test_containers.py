"""In each way of putting slowproxy beside an app in containers, the slow line and `slowproxy doctor` say the same, and it is true.

The containers are those of docker/compose.yaml and docker/kubernetes.yaml, and what people make of them; run by runc.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from containers import DOCKER_CAPABILITIES, NO_READV, Container, bind, host_root, until
from image import TOP, Image, debootstrap

BUILD = pathlib.Path(os.environ.get("SLOWPROXY_BUILD", TOP / "build"))
APP = TOP / "tests" / "functional" / "apps" / "stdlib_app.py"
PORT, APP_PORT = 8080, 8000
PTRACE = ["CAP_SYS_PTRACE"]


def why_not():
    if os.getuid() != 0:
        return "only root can start containers"
    missing = [tool for tool in ("runc", "debootstrap", "nsenter", "curl", "setcap") if shutil.which(tool) is None]
    return f"not installed: {' '.join(missing)}" if missing else None


@pytest.fixture(scope="module")
def folder():
    path = tempfile.mkdtemp(prefix="slowproxy-containers-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def image(folder):
    if why_not():
        pytest.skip(why_not())
    base = BUILD / "containers" / "debian-12"
    try:
        debootstrap(base, seconds=240)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"debootstrap cannot make a Debian 12 here: {error}")
    made = Image(base, folder / "image", BUILD)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def runc_works(folder, image):
    root, mounts = host_root(folder / "probe")
    try:
        Container(folder / "probe", "probe", root, ["/bin/sleep", 5], 1000, mounts=mounts).stop()
    except AssertionError as error:
        pytest.skip(f"runc cannot start a container here: {str(error).splitlines()[-1][:200]}")


@pytest.fixture
def containers(folder):
    started = []
    yield started
    for container in reversed(started):
        container.stop()


@pytest.fixture
def start(folder, image, containers):
    """start(proxy options, app options) -> (proxy, app), both ready."""
    root = tempfile.mkdtemp(dir=folder)
    app_root, app_mounts = host_root(root)

    def start_proxy(uid=1000, user_given=True, **options):
        store = pathlib.Path(tempfile.mkdtemp(dir=folder))
        os.chown(store, uid, uid)
        settings = image.settings
        uid = uid if user_given else settings["user"][0]
        containers.append(Container(
            folder, "proxy", image.root, [*settings["entrypoint"], *settings["cmd"], "--slow.threshold", "200ms"], uid,
            mounts=[bind(store, "/var/lib/slowproxy", "rw")], env=[f"SLOWPROXY_UPSTREAM=127.0.0.1:{APP_PORT}"], **options))
        containers[-1].store = store
        return containers[-1]

    def start_app(proxy, uid=1000, **options):
        containers.append(Container(
            folder, "app", app_root, ["/usr/bin/python3", "/srv/app.py", APP_PORT], uid, join=proxy,
            mounts=[*app_mounts, bind(APP, "/srv/app.py")], **options))
        until(lambda: proxy.curl(f"http://127.0.0.1:{PORT}/", "-f"), "the app behind the proxy")
        return containers[-1]

    def make(proxy_options, app_options):
        proxy = start_proxy(**proxy_options)
        return proxy, start_app(proxy, **app_options)

    make.app = start_app
    return make


def slow_line(proxy):
    before = len(proxy.lines())
    assert proxy.curl(f"http://127.0.0.1:{PORT}/blocking?seconds=0.4", "-f"), proxy.said()
    line = until(lambda: [line for line in proxy.lines()[before:] if line.get("event") == "slow_request"], "the slow line")[0]
    print(json.dumps(line))  # whole, should a test fail
    return line


def both_say(proxy, status):
    """What the slow line and the doctor say, which is the same."""
    line = slow_line(proxy)
    done = proxy.run("/usr/bin/slowproxy", "doctor", "--json")
    assert done.stdout, (done, proxy.said())
    said = json.loads(done.stdout)
    told = {p["capture_status"] for p in said["processes"]} or {said["problem"]["capture_status"]}
    # On a machine that is busy with other things some looks come late: then the line says "partial".
    lines_may_say = {status, "partial"} if status == "ok" else {status}
    assert line["capture_status"] in lines_may_say and told == {status}, (line, said, proxy.said())
    assert done.returncode == (0 if status == "ok" else 1), done
    if line["capture_status"] == "ok":
        assert line.get("code_function_name", "").endswith("call_legacy_service") and line["cause"] == "blocking_call", line
    return line, said


def remedies(said, key):
    patients = [*said["processes"], *([said["problem"]] if "problem" in said else [])]
    return " ".join(r.get(key, "") for p in patients for r in p["remedies"])


def test_the_same_user_without_any_capability(start, image):
    """docker/kubernetes.yaml: one user, no capability, no_new_privs, a read-only root. All is explained."""
    proxy, _ = start({"no_new_privileges": True, "read_only": True, "user_given": False}, {})
    line, _ = both_say(proxy, "ok")
    assert image.settings["user"] == (1000, 1000)
    until(lambda: list(proxy.store.glob("**/*.html")), "the profile's page in the volume")
    assert line["profile_file"].startswith("/var/lib/slowproxy/")
    healthy = proxy.run(*image.settings["healthcheck"])
    assert healthy.returncode == 0, healthy
    # PID 1 of this namespace is slowproxy: STOPSIGNAL ends it.
    proxy.signal(image.settings["stopsignal"])
    assert proxy.popen.wait(20) == 0, proxy.said()


def test_the_app_killed_and_started_again(start):
    """The app joined slowproxy's namespaces, so it can go and come back while slowproxy stays; the new worker is explained."""
    proxy, app = start({}, {})
    first, _ = both_say(proxy, "ok")
    app.signal("KILL")
    app.popen.wait(20)
    assert proxy.curl(f"http://127.0.0.1:{PORT}/", "-o", "/dev/null", "-w", "%{http_code}") == "502"
    start.app(proxy)
    second, _ = both_say(proxy, "ok")
    assert second["worker_pid"] != first["worker_pid"]


def test_another_user(start):
    """The app is another user and nothing was added: denied, and the lines for compose and Kubernetes are named."""
    proxy, _ = start({}, {"uid": 2000})
    _, said = both_say(proxy, "denied")
    assert 'user: "2000"' in remedies(said, "compose") and "cap_add: [SYS_PTRACE]" in remedies(said, "compose")
    assert "runAsUser: 2000" in remedies(said, "kubernetes")


def test_another_user_and_the_capability(start):
    """The same with SYS_PTRACE added: the marked program has it, although it is no root."""
    proxy, _ = start({"caps": PTRACE}, {"uid": 2000})
    both_say(proxy, "ok")


def test_the_capability_and_no_new_privs(start):
    """SYS_PTRACE was added, but escalation forbidden: it does not arrive, and the doctor knows why."""
    proxy, _ = start({"caps": PTRACE, "no_new_privileges": True}, {"uid": 2000})
    _, said = both_say(proxy, "denied")
    assert "allowPrivilegeEscalation: true" in remedies(said, "kubernetes")


def test_root_and_root_as_docker_starts_them(start):
    """Both images run as root with Docker's default capabilities, SYS_PTRACE not among them: one may read the other."""
    proxy, _ = start({"uid": 0, "caps": DOCKER_CAPABILITIES}, {"uid": 0, "caps": DOCKER_CAPABILITIES})
    both_say(proxy, "ok")


def test_root_that_may_nothing(start):
    """Root with all capabilities dropped starts all the same; an app of another user is denied to it."""
    proxy, _ = start({"uid": 0}, {"uid": 1000})
    both_say(proxy, "denied")


def test_pids_not_shared(start):
    """Only the network is shared: no_worker, and sharing the pid namespace is the advice."""
    proxy, _ = start({}, {"share_pids": False})
    _, said = both_say(proxy, "no_worker")
    assert "shareProcessNamespace: true" in remedies(said, "kubernetes")
    assert 'pid: "service:slowproxy"' in remedies(said, "compose")


def test_a_profile_without_process_vm_readv(start):
    """An old seccomp profile: the same user is read through /proc/PID/mem all the same."""
    proxy, _ = start({"seccomp": NO_READV}, {})
    _, said = both_say(proxy, "ok")
    assert said["self"]["process_vm_readv_filtered"]


def test_a_profile_without_process_vm_readv_and_another_user(start):
    """The same profile, another user, the capability: denied, and it is the profile that must change."""
    proxy, _ = start({"seccomp": NO_READV, "caps": PTRACE}, {"uid": 2000})
    _, said = both_say(proxy, "denied")
    assert "seccomp" in remedies(said, "docker_run")


def test_one_container(folder, containers):
    """slowproxy as PID 1 of the app's own container starts the app, explains it, and ends with it; no capability."""
    root, mounts = host_root(tempfile.mkdtemp(dir=folder))
    store = pathlib.Path(tempfile.mkdtemp(dir=folder))
    os.chown(store, 1000, 1000)
    app = [bind(TOP / "config/demo/app.py", "/srv/app.py"), bind(BUILD / "slowproxy", "/srv/slowproxy"),
           bind(store, "/tmp", "rw")]
    alone = Container(folder, "alone", root, ["/srv/slowproxy", "--listen", f"0.0.0.0:{PORT}", "--slow.threshold", "200ms",
                                              "--logs.format", "json", "--", "/usr/bin/python3", "-m", "uvicorn", "--app-dir",
                                              "/srv", "app:app"], 1000, no_new_privileges=True, mounts=[*mounts, *app])
    containers.append(alone)
    until(lambda: alone.curl(f"http://127.0.0.1:{PORT}/", "-f"), "the app in its container")
    assert alone.curl(f"http://127.0.0.1:{PORT}/blocking?seconds=0.4", "-f")
    line = until(lambda: [one for one in alone.lines() if one.get("event") == "slow_request"], "the slow line")[0]
    assert line["capture_status"] in ("ok", "partial"), (line, alone.said())
    alone.signal("TERM")
    assert alone.popen.wait(20) == 0, alone.said()
