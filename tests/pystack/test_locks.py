"""What a thread waits for, and who has it: the GIL, the locks of threading; without GIL objects and the collector, too."""
import pytest

from conftest import FREE_THREADED, dump, until


def waits(document):
    return {t["thread_name"]: t["waits_for"] for t in document["threads"]}


def test_locks_and_their_owners(python, start):
    """A thread that waits for a lock is shown with the very lock, and with its owner where the lock knows it."""
    app = start(python, "locks.py").ready()
    plain, spoken, owned = app.process.stdout.readline().split()
    expected = {"with_plain": ("lock", plain), "acquire_plain": ("lock", spoken), "acquire_soon": ("lock", spoken),
                "with_owned": ("rlock", owned), "acquire_owned": ("rlock", owned)}

    def all_wait():
        document = dump(app.pid)
        seen = waits(document)
        return {n: w and (w["kind"], w["object"]) for n, w in seen.items() if n in expected} == expected and document

    document = until(all_wait, "all wait for their lock")
    seen = waits(document)
    holder = next(t["os_thread_id"] for t in document["threads"] if t["thread_name"] == "holder")
    assert {seen[n]["held_by"] for n in ("with_owned", "acquire_owned")} == {holder}
    assert {seen[n]["held_by"] for n in ("with_plain", "acquire_plain", "acquire_soon")} == {None}
    assert seen["MainThread"] is None and seen["holder"] is None
    assert seen["wait_for_event"]["kind"] == "lock" and seen["wait_for_event"]["object"] not in (plain, spoken, owned)


def test_who_holds_the_gil(python, start):
    """Of two threads that compute, the one that waits for the GIL waits for the other."""
    if python in FREE_THREADED:
        pytest.skip("has no GIL")
    app = start(python, "many.py", "spin").ready()

    def waiting():
        threads = {t["thread_name"]: t for t in dump(app.pid)["threads"]}
        a, b = threads["spinner-0"], threads["spinner-1"]
        pairs = [(x["waits_for"], y["os_thread_id"]) for x, y in ((a, b), (b, a)) if x["state"] == "gil_wait"]
        assert all(w["kind"] == "gil" for w, _ in pairs)
        return any(w["held_by"] == other for w, other in pairs)

    until(waiting, "one spinner waits for the other")
