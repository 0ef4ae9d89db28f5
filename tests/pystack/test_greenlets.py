"""Suspended greenlets, read from outside: gevent of the system, and of other interpreters where it is installed."""
import collections
import subprocess

import pytest

from conftest import GOOD, dump, frames_of, name_of, until

WITH_GEVENT = [p for p in GOOD if subprocess.run([p, "-c", "import gevent"], capture_output=True, timeout=60).returncode == 0]
pytestmark = pytest.mark.skipif(not WITH_GEVENT, reason="no interpreter here has gevent")
with_gevent = pytest.mark.parametrize("gevented", WITH_GEVENT, ids=[name_of(p) for p in WITH_GEVENT])


def greenlets(document):
    """{function: [its frames, those of gevent itself left out, ...]}, by the innermost function of the app."""
    found = collections.defaultdict(list)
    for greenlet in document["greenlets"]:
        frames = [f for f, raw in zip(frames_of(greenlet), greenlet["frames"]) if "/gevent/" not in raw["filename"]]
        if frames:
            found[frames[0][0]].append(frames)
    return found


@with_gevent
def test_each_greenlet_is_at_its_line(gevented, start):
    """Each suspended greenlet is shown once, with its exact lines, also below generators and functions called from C."""
    app = start(gevented, "greenlets.py").ready()
    document = dump(app.pid)
    found = greenlets(document)
    assert sorted(len(frames) for frames in found["deep"]) == list(range(1, 21))
    assert all(frames[0] == ("deep", app.line("at deep")) for frames in found["deep"])
    assert found["generate"] == [[("generate", app.line("at generating")), ("drive", app.line("at driving"))]]
    assert found["key"] == [[("key", app.line("at key")), ("sort", app.line("at sorting"))]]
    assert found["wait"] == [[("wait", app.line("at waiting"))]]
    assert document["unreadable"] == 0
    ids = [g["id"] for g in document["greenlets"]]
    assert len(ids) == len(set(ids))
    lines = {app.line("at one"), app.line("at two")}
    seen = set()

    def seen_both():
        seen.update(line for frames in greenlets(dump(app.pid))["step"] for _, line in frames)
        return seen >= lines

    until(seen_both, "the greenlet that steps, at both of its lines")
    assert seen == lines


@with_gevent
def test_one_computes_while_the_others_wait(gevented, start):
    """A greenlet that holds the thread is on that thread, and in no list; all others, the main one too, are shown."""
    app = start(gevented, "greenlets.py", "busy").ready()

    def busy():
        document = dump(app.pid)
        return frames_of(document["threads"][0])[-1] == ("busy", app.line("at busy")) and document

    document = until(busy, "the thread computes")
    found = greenlets(document)
    assert "busy" not in found and len(found["deep"]) == 20 and len(found["step"]) == 1 and len(found["<module>"]) == 1
