"""Greenlets of gevent that stand still at known lines, one after the other; `busy` computes for ever, if asked to."""
import sys

import gevent
import gevent.event
import gevent.pool


def deep(n):
    if n:
        return deep(n - 1)
    gevent.sleep(3600)  # at deep


def generate():
    gevent.sleep(3600)  # at generating
    yield 1


def drive(path):
    list(generate())  # at driving


def key(n):
    gevent.sleep(3600)  # at key
    return n


def sort(path):
    sorted([2, 1], key=key)  # at sorting


def wait(path):
    EVENT.wait()  # at waiting


def step(path):
    while True:
        gevent.sleep(0.01)  # at one
        gevent.sleep(0.01)  # at two


def busy():
    print("ready", flush=True)
    while True:
        pass  # at busy


EVENT = gevent.event.Event()
POOL = gevent.pool.Pool(100)
for n in range(20):
    POOL.spawn(deep, n)
for target in (drive, sort, wait, step):
    POOL.spawn(target, "/" + target.__name__)
gevent.sleep(0.1)
if "busy" in sys.argv:
    gevent.spawn(busy)
else:
    print("ready", flush=True)
gevent.sleep(3600)
