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


WITHOUT_GIL = sorted(FREE_THREADED)
needs_free_threading = pytest.mark.skipif(not WITHOUT_GIL, reason="SKIPPED: no interpreter without GIL here (SLOWPROXY_PYTHONS names some)")
SHARED = """
import gc, sys, threading, time
shared = {i: i for i in range(3_000_000)}
def copies():
    while True: shared.copy()
def changes():
    while True: shared[1] = 2
def collects():
    while True: gc.collect()
for target in (changes, changes, {"copies": copies, "collects": collects}[sys.argv[1]]):
    threading.Thread(target=target, name=target.__name__, daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


@needs_free_threading
@pytest.mark.parametrize("who, kind", [("copies", "object"), ("collects", "world")])
def test_waits_without_gil(start, who, kind):
    """Without GIL a thread waits for whoever changes the same object, or stopped the world: told with its thread."""
    for python in WITHOUT_GIL:
        app = start(python, SHARED, who).ready()

        def waits_for_it():
            document = dump(app.pid)
            name_of_tid = {t["os_thread_id"]: t["thread_name"] for t in document["threads"]}
            seen = [t["waits_for"] for t in document["threads"] if t["thread_name"] == "changes" and t["waits_for"]]
            return any(w["kind"] == kind and name_of_tid.get(w["held_by"]) == who for w in seen)

        until(waits_for_it, f"a thread that waits for {who}")


@needs_free_threading
def test_a_gil_turned_on_again(start, monkeypatch):
    """Where the GIL of a build without GIL is on (PYTHON_GIL=1), one thread holds it, and the other waits for it."""
    monkeypatch.setenv("PYTHON_GIL", "1")
    for python in WITHOUT_GIL:
        app = start(python, "many.py", "spin").ready()

        def one_waits():
            threads = [t for t in dump(app.pid)["threads"] if t["thread_name"].startswith("spinner")]
            assert sum(t["owns_gil"] for t in threads) <= 1
            return any(t["state"] == "gil_wait" and t["waits_for"]["held_by"] in [o["os_thread_id"] for o in threads if o is not t]
                       for t in threads)

        until(one_waits, "one spinner that waits for the other")
