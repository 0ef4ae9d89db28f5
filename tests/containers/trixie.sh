#!/bin/sh
# The whole of docker/Dockerfile, its build stage too, in a Debian 13 made by debootstrap: slow (minutes), run by hand.
#   tests/containers/trixie.sh FOLDER
set -eu
top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
root=$1
[ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase trixie "$root" http://deb.debian.org/debian
/usr/bin/python3 - "$root" <<'PYTHON'
import pathlib, subprocess, sys
sys.path.insert(0, "tests/containers")
import image
root = pathlib.Path(sys.argv[1])
for stage in image.stages(image.DOCKERFILE.read_text()):
    arguments = image.arguments_of(stage)
    for word, rest in stage:
        if word == "RUN":
            for name, value in arguments.items():
                rest = rest.replace("${%s}" % name, value)
            print("RUN", rest, flush=True)
            subprocess.run(["chroot", root, "/bin/sh", "-ec", rest], check=True)
        elif word == "COPY" and rest.startswith("--from="):
            subprocess.run(["chroot", root, "/bin/sh", "-ec", "cp -a /out/. /"], check=True)
        elif word == "COPY":
            *sources, target = rest.split()
            place = root / target.lstrip("/")
            for source in sources:
                place.parent.mkdir(parents=True, exist_ok=True)
                if pathlib.Path(source).is_dir():
                    subprocess.run(["cp", "-rT", source, place], check=True)
                else:
                    (place / "x" if target.endswith("/") else place).parent.mkdir(parents=True, exist_ok=True)
                    subprocess.run(["cp", source, place], check=True)
subprocess.run(["chroot", root, "/bin/sh", "-ec", "getcap /usr/bin/slowproxy; ls -ld /var/lib/slowproxy; "
                "setpriv --reuid 1000 --regid 1000 --clear-groups /usr/bin/slowproxy -t -c /etc/slowproxy/proxy.yaml"], check=True)
PYTHON
