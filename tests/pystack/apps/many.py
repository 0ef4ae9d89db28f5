"""Threads and tasks that stand still at known lines: `# at NAME` marks the line where NAME stands."""
import asyncio
import concurrent.futures
import sys
import threading
import time


def sleep_here():
    time.sleep(3600)  # at sleeper


def sleep_outer():
    sleep_here()  # called by sleeper


def spin():
    while True:
        pass


def wait_for_lock():
    LOCK.acquire()  # at locked


def generate():
    for _ in range(3):
        time.sleep(3600)  # at generating
        yield 1


def drive():
    list(generate())  # at driving


async def innermost(name):
    await asyncio.sleep(3600)  # at innermost


async def middle(name):
    await innermost(name)  # at middle


async def outermost(name):
    await middle(name)  # at outermost


class Slow:
    def __await__(self):
        yield from asyncio.sleep(3600).__await__()  # at awaitable


async def await_object():
    await Slow()  # at await_object


async def agen():
    await asyncio.sleep(3600)  # at agen
    yield 1


async def await_agen():
    async for _ in agen():  # at await_agen
        pass


async def gathers():
    await asyncio.gather(outermost("a"), outermost("b"))  # at gathers


async def main():
    tasks = [asyncio.create_task(c, name=n) for n, c in (
        ("plain", outermost("p")), ("object", await_object()), ("generator", await_agen()), ("gathers", gathers()),
        ("n\u00e4me \u2713", innermost("x")))]
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.sleep(3600)  # at main
    await asyncio.wait(tasks)


LOCK = threading.Lock()
LOCK.acquire()
for name, target in (("sleeper", sleep_outer), ("locked", wait_for_lock), ("driver", drive)):
    threading.Thread(target=target, name=name, daemon=True).start()
if "spin" in sys.argv:
    for i in range(2):
        threading.Thread(target=spin, name=f"spinner-{i}", daemon=True).start()
POOL = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="pool")
POOL.submit(int).result()
asyncio.run(main())
