"""The image that docker/Dockerfile describes, made without Docker: its steps, run in a root that debootstrap made.

The build stage is what CMake has built already, installed the way the Dockerfile says. The steps of the final stage are executed
as they are written; only the packages have the names of this Debian, and are in the root from the beginning.
"""
import json
import pathlib
import re
import shlex
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
DOCKERFILE = TOP / "docker" / "Dockerfile"
# The names of Debian 13 in the Dockerfile -> those of Debian 12; "": linked in, or not needed there.
DEBIAN_12 = {"libevent-core-2.1-7t64": "libevent-core-2.1-7", "libevent-extra-2.1-7t64": "libevent-extra-2.1-7",
             "libcurl4t64": "", "ca-certificates": "", "libllhttp9.2": ""}


def instructions(text):
    """[("RUN", "apt-get ..."), ...]: comments gone, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    text = re.sub(r"\\\n", " ", text)
    return [tuple(line.strip().split(None, 1)) for line in text.splitlines() if line.strip()]


def stages(text):
    """The instructions of each stage; those before the first FROM are not among them."""
    found = []
    for word, rest in instructions(text):
        if word == "FROM":
            found.append([])
        elif found:
            found[-1].append((word, rest))
    return found


def arguments_of(stage):
    return dict(shlex.split(rest)[0].split("=", 1) for word, rest in stage if word == "ARG")


def packages_of(stage, name):
    return arguments_of(stage)[name].split()


def runtime_packages():
    final = stages(DOCKERFILE.read_text())[-1]
    names = (DEBIAN_12.get(name, name) for name in packages_of(final, "RUNTIME_PACKAGES"))
    return sorted({*filter(None, names), "libcap2-bin"})


def debootstrap(root, seconds):
    """A minimal Debian 12 with the packages of the image; kept for the next time."""
    done = root.with_suffix(".done")
    wanted = " ".join(runtime_packages())
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=" + wanted.replace(" ", ","), "bookworm", str(root),
                    "http://deb.debian.org/debian"], check=True, timeout=seconds, stdout=subprocess.DEVNULL)
    done.write_text(wanted)


class Image:
    """The folder that is the root of its containers, and how Docker would start them."""

    def __init__(self, base, root, build):
        self.root = root
        self.settings = {}
        subprocess.run(["rm", "-rf", root], check=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
        for word, rest in stages(DOCKERFILE.read_text())[-1]:
            getattr(self, "do_" + word.lower())(rest, build)

    def do_run(self, command, _):
        for step in command.split(" && "):
            if step.startswith("apt-get") or "/var/lib/apt/lists" in step:
                continue  # debootstrap has done this
            subprocess.run(["chroot", self.root, "/bin/sh", "-c", step], check=True)

    def do_copy(self, rest, build):
        if not rest.startswith("--from="):
            source, target = rest.split()
            (self.root / target[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / source, self.root / target[1:])
            return
        assert rest.split() == ["--from=build", "/out/", "/"], rest
        subprocess.run(["cmake", "--install", build, "--strip", "--component", "program", "--prefix", "/usr"], check=True,
                       env={"DESTDIR": str(self.root), "PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL)

    def do_user(self, rest, _):
        self.settings["user"] = tuple(int(number) for number in rest.split(":"))

    def do_entrypoint(self, rest, _):
        self.settings["entrypoint"] = json.loads(rest)

    def do_cmd(self, rest, _):
        self.settings["cmd"] = json.loads(rest)

    def do_healthcheck(self, rest, _):
        self.settings["healthcheck"] = json.loads(rest[rest.index("CMD ") + 4:])

    def do_stopsignal(self, rest, _):
        self.settings["stopsignal"] = rest

    def ignored(self, *_):
        pass

    do_arg = do_label = do_volume = do_expose = ignored

    def close(self):
        subprocess.run(["rm", "-rf", self.root], check=False)
