"""slowproxy dump: the stacks of a process, now."""
import json
import subprocess
import threading

import pytest

from objects import BINARY, Client, until


def dump(pid, *options):
    return subprocess.run([BINARY, "dump", "--pid", str(pid), *options], capture_output=True, text=True, timeout=20)


@pytest.mark.core
def test_dump_names_the_functions(demo_app):
    """While the app sleeps in call_legacy_service, dump shows that function, its file, and who called it."""
    asking = threading.Thread(target=lambda: demo_app_get(demo_app, "/blocking?seconds=2"))
    asking.start()

    def seen():
        run = dump(demo_app.pid)
        assert run.returncode == 0, run.stderr
        return "call_legacy_service" in run.stdout and run.stdout

    text = until(seen, "call_legacy_service in a dump")
    assert "load_prices" in text and "app.py" in text
    asking.join()


def demo_app_get(backend, path):
    return Client(backend.address).get(path)


def test_dump_as_json(demo_app):
    """--json prints one JSON document."""
    run = dump(demo_app.pid, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)


def test_dump_of_what_is_not_there():
    """A pid that is not there, or not Python: status not 0 and a sentence."""
    for pid in (2 ** 22 - 1, 1):
        run = dump(pid)
        if run.returncode == 0:  # pid 1 may be a Python in a container
            continue
        assert len(run.stderr.split()) >= 3, run.stderr
