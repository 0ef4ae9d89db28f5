"""Computes in one thread and sleeps in another, for tests of `slowproxy record`; says so once both have begun."""
import sys
import threading
import time


def compute():
    return sum(i * i for i in range(300))


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        compute()


def doze():
    while True:
        time.sleep(0.5)


seconds, status = (float(sys.argv[1]) if len(sys.argv) > 1 else 60), (int(sys.argv[2]) if len(sys.argv) > 2 else 0)
threading.Thread(target=doze, name="dozing", daemon=True).start()
print("ready", flush=True)
work(seconds)
sys.exit(status)
