"""Fixtures: each makes its thing in a folder of the test's own, and ends it by pid afterwards."""
import os
import shutil
import tempfile

import pytest

import objects
from objects import Process, Proxy, ScriptedBackend, gunicorn, uvicorn


def pytest_configure(config):
    config.addinivalue_line("markers", "core: short and telling; also run against the sanitized builds")


def pytest_collection_modifyitems(items):
    if not objects.BINARY.exists():
        reason = pytest.mark.skip(reason=f"there is no {objects.BINARY}")
        for item in items:
            item.add_marker(reason)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows what its processes said."""
    report = (yield).get_result()
    if report.failed:
        for process in Process.started:
            for what, text in (("stdout", process.output()), ("stderr", process.errors())):
                if text.strip():
                    report.sections.append((f"{what} of {process.name} (pid {process.pid})", text[-6000:]))


@pytest.fixture
def folder():
    """A folder that other users can enter too, since the proxy gives up root."""
    path = tempfile.mkdtemp(prefix="slowproxy-test-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def processes(folder):
    """Whatever a test started and did not end is ended here, newest first; a sanitizer's complaint fails the test."""
    Process.started.clear()
    yield Process.started
    for process in reversed(Process.started):
        process.stop()
    for process in Process.started:
        said = process.errors() if not process.expects_crash else ""
        assert "Sanitizer" not in said and "runtime error:" not in said, said[-6000:]


@pytest.fixture
def make_proxy(folder):
    """make_proxy(upstream, **settings): settings are top-level keys of proxy.yaml."""
    return lambda upstream, **settings: Proxy(folder, upstream, **settings)


@pytest.fixture
def make_uvicorn(folder):
    return lambda **options: uvicorn(folder, **options)


@pytest.fixture
def make_gunicorn(folder):
    return lambda **options: gunicorn(folder, **options)


@pytest.fixture
def scripted():
    """scripted(script, folder=None): a ScriptedBackend whose failures fail the test."""
    made = []

    def make(script, folder=None):
        made.append(ScriptedBackend(script, folder))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
        assert not backend.failures, backend.failures


# One demo app serves all tests of a module that do not harm it: starting uvicorn takes most of a second.


@pytest.fixture(scope="module")
def demo_app():
    path = tempfile.mkdtemp(prefix="slowproxy-demo-")
    os.chmod(path, 0o755)
    backend = uvicorn(path, name="demo-app")
    yield backend
    backend.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def proxy(demo_app, make_proxy):
    """A proxy with the tests' defaults in front of the demo app."""
    return make_proxy(demo_app)
