"""`slowproxy doctor`: what it says of a backend is what the slow lines say, and what it advises helps."""
import json
import os
import shutil
import subprocess

import pytest

from objects import APPS, BINARY, PYTHON, Backend, Proxy, free_port, perl, stdlib_python

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become other users")
USER, OTHER = 61001, 61002


def as_user(uid, *bounding):
    """The prefix that makes a process of this user which can never have more than these capabilities."""
    return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all",
            "--bounding-set=" + ",".join(["-all", *("+" + one for one in bounding)])]


def doctor(*arguments, prefix=(), binary=BINARY, status):
    done = subprocess.run([str(a) for a in (*prefix, binary, "doctor", "--json", *arguments)], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == status, done
    return json.loads(done.stdout)


def told_by_both(folder, backend, prefix, status, binary=BINARY):
    """The slow line's and the doctor's capture_status, which must be this; what the doctor says of the backend."""
    os.chmod(folder, 0o777)
    proxy = Proxy(folder, backend, binary=binary, prefix=prefix)
    proxy.client.get("/blocking?seconds=0.5")
    line = proxy.slow_line("/blocking")
    said = doctor("-c", proxy.config_path, prefix=prefix, binary=binary, status=0 if status == "ok" else 1)
    proxy.stop()
    # On a machine that is busy with other things some looks come late: then the line says "partial".
    assert line["capture_status"] in ({"ok", "partial"} if status == "ok" else {status}), line
    assert said["ok"] == (status == "ok")
    found = [p for p in said["processes"] if p["pid"] == backend.pid]
    assert len(found) == 1 and found[0]["capture_status"] == status, said
    return found[0]


@pytest.fixture
def copies(folder):
    """The binary and the app where every user can read them."""
    return [shutil.copy(path, folder) for path in (BINARY, APPS / "stdlib_app.py")]


@needs_root
def test_users_and_capabilities(folder, copies):
    """Same user: ok. Another one: denied, with the lines that help; and with the capability of the marked file: ok again."""
    binary, script = copies
    backend = stdlib_python(folder, PYTHON, script=script, user=USER, group=USER, extra_groups=[])
    assert told_by_both(folder, backend, as_user(USER), "ok", binary)["python_version"].startswith("3.")

    found = told_by_both(folder, backend, as_user(OTHER), "denied", binary)
    assert f"user {USER}" in found["reason"]
    remedies = {r["compose"] for r in found["remedies"]}
    assert remedies == {f'user: "{USER}"', "cap_add: [SYS_PTRACE]"}, found

    # The container has the capability now, but a plain user's program must be marked for it.
    found = told_by_both(folder, backend, as_user(OTHER, "sys_ptrace"), "denied", binary)
    assert any("setcap cap_sys_ptrace=p" in r["docker_run"] for r in found["remedies"]), found
    subprocess.run(["setcap", "cap_sys_ptrace=p", binary], check=True)
    told_by_both(folder, backend, as_user(OTHER, "sys_ptrace"), "ok", binary)

    # Marked, and yet denied: no_new_privs takes no notice of marks.
    prefix = [*as_user(OTHER, "sys_ptrace"), "setpriv", "--no-new-privs"]
    found = told_by_both(folder, backend, prefix, "denied", binary)
    assert any("allowPrivilegeEscalation: true" in r["kubernetes"] for r in found["remedies"]), found


@needs_root
def test_root_as_containers_have_it(folder, copies):
    """Root of a container, without CAP_SYS_PTRACE: it reads an app that is root of the same kind, and is denied others."""
    binary, script = copies
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+kill,+setgid,+setuid"]
    port = free_port()
    backend = Backend("root-app", [*prefix, PYTHON, script, port], folder, f"127.0.0.1:{port}")
    told_by_both(folder, backend, prefix, "ok", binary)
    other = stdlib_python(folder, PYTHON, name="other-app", script=script, user=USER, group=USER, extra_groups=[])
    told_by_both(folder, other, prefix, "denied", binary)


def test_what_is_not_python(folder):
    """A Perl backend: not_python by both."""
    told_by_both(folder, perl(folder), [], "not_python")


def test_nobody_listens(folder):
    """An upstream that nobody here listens at: no_worker, and the pid namespace is the advice."""
    said = doctor("-c", configuration(folder), status=1)
    assert said["processes"] == [] and said["problem"]["capture_status"] == "no_worker"
    assert said["problem"]["remedies"][0]["kubernetes"].startswith("shareProcessNamespace: true")


def configuration(folder):
    path = os.path.join(folder, "proxy.yaml")
    with open(path, "w") as out:
        out.write(f"upstream: 127.0.0.1:{free_port()}\n")
    return path


def test_for_people(folder, demo_app):
    """The text names the process, its Python and the verdict; a wrong command line or configuration is status 2."""
    done = subprocess.run([BINARY, "doctor", "--pid", str(demo_app.pid)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and f"process {demo_app.pid}" in done.stdout and "3.11.2" in done.stdout, done
    assert "All is well" in done.stdout
    for arguments in (["--pid", "x"], ["--frobnicate"], ["-c", "/nonexistent.yaml"]):
        done = subprocess.run([BINARY, "doctor", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and done.stderr, done
