"""Builds of Python that hide what others show: nothing exported, stripped, another hash table, a program that is gone."""
import glob
import shutil
import subprocess

import pytest

from conftest import dump, frames_of

ARCHIVES = sorted(glob.glob("/usr/lib/python3.*/config-3.*/libpython3.*[0-9].a"))
needs_archive = pytest.mark.skipif(not ARCHIVES or not shutil.which("cc"), reason="needs libpython3-dev and a compiler")

PROGRAM = "#include <Python.h>\nint main(int argc, char **argv) { return Py_BytesMain(argc, argv); }\n"
STAY = "import sys\ndef stay():\n    print('ready', flush=True); sys.stdin.read()\nstay()\n"
BUILDS = {
    "only .symtab": (["-no-pie"], False),
    "stripped": (["-no-pie"], True),
    "stripped, moved": (["-pie"], True),
    "System V hash": (["-pie", "-rdynamic", "-Wl,--hash-style=sysv"], True),
}


def build(folder, flags, strip):
    archive = ARCHIVES[0].replace(".a", "-pic.a") if "-pie" in flags else ARCHIVES[0]
    version = archive.split("/")[3]
    (folder / "python.c").write_text(PROGRAM)
    subprocess.run(["cc", "-w", f"-I/usr/include/{version}", "-fPIE" if "-pie" in flags else "-fno-PIE", *flags, "python.c", archive,
                    "-o", "program", "-lm", "-lz", "-lexpat", "-ldl"], cwd=folder, check=True, timeout=120)
    if strip:
        subprocess.run(["strip", "program"], cwd=folder, check=True, timeout=60)
    return folder / "program"


@needs_archive
@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_a_program_with_python_in_it(tmp_path, kind, deleted):
    """A program that was linked with Python in it is read: by its symbols, its .PyRuntime section, with its file deleted too."""
    program = build(tmp_path, *BUILDS[kind])
    app = subprocess.Popen([program, "-c", STAY], env={"PYTHONHOME": "/usr"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout.readline().strip() == "ready"
        if deleted:
            program.unlink()
        document = dump(app.pid)
        assert frames_of(document["threads"][0]) == [("stay", 3), ("<module>", 4)]
        assert document["unreadable"] == 0
    finally:
        app.kill()
        app.wait()
        app.stdin.close()
        app.stdout.close()
