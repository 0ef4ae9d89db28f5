"""Threads that wait for locks in every way there is; `holder` has them all and sleeps."""
import threading
import time

PLAIN, SPOKEN, OWNED = threading.Lock(), threading.Lock(), threading.RLock()
HELD = threading.Event()


def hold():
    with PLAIN, SPOKEN, OWNED:
        HELD.set()
        time.sleep(3600)


def with_plain():
    with PLAIN:
        pass


def acquire_plain():
    SPOKEN.acquire()


def acquire_soon():
    SPOKEN.acquire(timeout=3600)


def with_owned():
    with OWNED:
        pass


def acquire_owned():
    OWNED.acquire()


def wait_for_event():
    threading.Event().wait(3600)


threading.Thread(target=hold, name="holder", daemon=True).start()
HELD.wait()
for target in (with_plain, acquire_plain, acquire_soon, with_owned, acquire_owned, wait_for_event):
    threading.Thread(target=target, name=target.__name__, daemon=True).start()
print("ready", flush=True)
print(hex(id(PLAIN)), hex(id(SPOKEN)), hex(id(OWNED)), flush=True)
time.sleep(3600)
