"""Containers as an engine would start them, with Debian's runc: namespaces, users, capabilities, seccomp, read-only roots."""
import copy
import json
import pathlib
import subprocess
import time

# What Docker gives a container by default.
DOCKER_CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
]
NO_READV = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["process_vm_readv", "process_vm_writev"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def capabilities_for(uid, names, ambient):
    """As Docker does it: root has them, another user only may get them from a marked file. ambient: as systemd does it."""
    own = names if uid == 0 or ambient else []
    return {"bounding": names, "effective": own, "permitted": own, "inheritable": own if ambient else [],
            "ambient": own if ambient else []}


class Container:
    number = 0

    def __init__(self, folder, name, root, args, uid, caps=(), no_new_privileges=False, read_only=False, mounts=(), env=(),
                 join=None, share_pids=True, seccomp=None, ambient=False):
        Container.number += 1
        self.name = f"slowproxy-test-{name}-{time.monotonic_ns()}-{Container.number}"
        self.bundle = pathlib.Path(folder) / self.name
        self.bundle.mkdir()
        self.out, self.err = self.bundle / "stdout", self.bundle / "stderr"
        path = f"/proc/{join.pid}/ns/" if join else None
        kinds = ["mount", "ipc", "uts", "network", "pid"]
        joined = {"network", "pid"} if share_pids else {"network"}
        namespaces = [{"type": kind, "path": path + {"network": "net"}.get(kind, kind)} if join and kind in joined
                      else {"type": kind} for kind in kinds]
        spec = {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False, "user": {"uid": uid, "gid": uid}, "args": [str(a) for a in args], "cwd": "/",
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", *env],
                "capabilities": capabilities_for(uid, list(caps), ambient), "noNewPrivileges": no_new_privileges,
            },
            "root": {"path": str(root), "readonly": read_only},
            "hostname": name,
            "mounts": [*copy.deepcopy(MOUNTS), *mounts],
            "linux": {"namespaces": namespaces, "resources": {}, "maskedPaths": ["/proc/kcore", "/proc/keys"],
                      "readonlyPaths": ["/proc/sys"]},
        }
        if seccomp:
            spec["linux"]["seccomp"] = seccomp
        (self.bundle / "config.json").write_text(json.dumps(spec))
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.popen = subprocess.Popen(["runc", "run", "--bundle", str(self.bundle), self.name], stdout=out, stderr=err,
                                          stdin=subprocess.DEVNULL)
        self.pid = until(self.find_pid, f"{self.name} to run")

    def find_pid(self):
        assert self.popen.poll() is None, self.said()
        state = subprocess.run(["runc", "state", self.name], capture_output=True, text=True)
        found = json.loads(state.stdout) if state.returncode == 0 else {}
        return found.get("status") == "running" and found["pid"]

    def run(self, *args):
        """A command beside the container's process, as `docker exec` would start it."""
        return subprocess.run(["runc", "exec", self.name, *map(str, args)], capture_output=True, text=True, timeout=30)

    def curl(self, url, *options):
        """From inside of its network namespace."""
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-n", "curl", "-sS", "--max-time", "20", *options, url],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def lines(self):
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]

    def said(self):
        return f"{self.name}\n{self.out.read_text()[-3000:]}\n{self.err.read_text()[-3000:]}"

    def signal(self, name):
        subprocess.run(["runc", "kill", self.name, name], check=False, capture_output=True)

    def stop(self):
        if self.popen.poll() is None:
            self.signal("KILL")
            self.popen.wait(20)
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True)


def bind(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *(options or ("ro",))]}


def host_root(folder):
    """A root that is the machine's own programs, read-only: good enough for the app."""
    root = pathlib.Path(folder) / "app-root"
    for name in ("proc", "dev", "tmp", "srv", "usr", "etc", "lib", "lib64", "bin", "sbin"):
        (root / name).mkdir(parents=True)
    mounts = [bind(f"/{name}", f"/{name}") for name in ("usr", "etc", "lib", "lib64", "bin", "sbin")
              if pathlib.Path(f"/{name}").exists()]
    return root, mounts


