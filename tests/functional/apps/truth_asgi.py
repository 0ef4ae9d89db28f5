"""An app that knows the truth: each handler notes what it did, when, on which thread and task, and who held the loop.

GET /KIND?seconds=S&id=ID. GET /truth gives all notes as JSON. Kinds: await, busy, sleep (both hold the event loop), work
(await, compute, await), gather (children), pool-sleep and pool-busy (sync endpoints of the thread pool), quick (awaits a
moment only), spawn and later (a background task, and a mere callback, that hold the loop a little later).
"""
import asyncio
import os
import threading
import time

from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware

app = FastAPI()
notes = []
holds = []


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


for _ in range(int(os.environ.get("TRUTH_MIDDLEWARES", "0"))):
    app.add_middleware(Passing)


class Note:
    """with Note(request, cause): the time in between is what the request did."""

    def __init__(self, request, cause):
        self.note = {"id": request.query_params["id"], "cause": cause, "thread": threading.get_native_id(),
                     "pid": os.getpid()}
        try:
            self.note["task"] = id(asyncio.current_task())
        except RuntimeError:
            self.note["task"] = 0

    def __enter__(self):
        self.note["from"] = time.monotonic()

    def __exit__(self, *_):
        self.note["to"] = time.monotonic()
        notes.append(self.note)
        if self.note["cause"] in ("busy", "sleep"):
            holds.append(self.note)


def busy_until(end):
    number = 0
    while time.monotonic() < end:
        for number in range(1000):
            number += 1
    return number


async def awaiting(seconds):
    await asyncio.sleep(seconds)


def sleeping_on_the_loop(seconds):
    time.sleep(seconds)


def computing_on_the_loop(seconds):
    busy_until(time.monotonic() + seconds)


@app.get("/")
async def root():
    return {"pid": os.getpid()}


@app.get("/truth")
async def truth():
    return notes


@app.get("/await")
async def endpoint_await(request: Request, seconds: float):
    with Note(request, "await"):
        await awaiting(seconds)
    return {}


@app.get("/quick")
async def endpoint_quick(request: Request):
    with Note(request, "quick"):
        await awaiting(0.001)
    return {}


@app.get("/busy")
async def endpoint_busy(request: Request, seconds: float):
    await awaiting(0)
    with Note(request, "busy"):
        computing_on_the_loop(seconds)
    return {}


@app.get("/sleep")
async def endpoint_sleep(request: Request, seconds: float):
    with Note(request, "sleep"):
        sleeping_on_the_loop(seconds)
    return {}


async def child(seconds):
    await asyncio.sleep(seconds)


@app.get("/gather")
async def endpoint_gather(request: Request, seconds: float):
    with Note(request, "await"):
        await asyncio.gather(child(seconds), child(seconds / 2))
    return {}


async def blocking_child(request, seconds):
    await asyncio.sleep(0)
    with Note(request, "sleep"):
        sleeping_on_the_loop(seconds)


@app.get("/child-sleep")
async def endpoint_child_sleep(request: Request, seconds: float):
    await asyncio.gather(child(0.01), blocking_child(request, seconds))
    return {}


@app.get("/pool-sleep")
def endpoint_pool_sleep(request: Request, seconds: float):
    with Note(request, "pool-sleep"):
        time.sleep(seconds)
    return {}


@app.get("/pool-busy")
def endpoint_pool_busy(request: Request, seconds: float):
    with Note(request, "pool-busy"):
        busy_until(time.monotonic() + seconds)
    return {}


def crunching_in_c(numbers):
    return sum(range(numbers))  # one call that keeps the GIL to its end


@app.get("/pool-hog")
def endpoint_pool_hog(request: Request, seconds: float):
    began = time.thread_time()
    crunching_in_c(1000000)
    million = time.thread_time() - began
    with Note(request, "pool-hog"):
        crunching_in_c(int(seconds / million * 1000000))
    return {}


def executor_job(seconds):
    time.sleep(seconds)


@app.get("/executor")
async def endpoint_executor(request: Request, seconds: float):
    with Note(request, "pool-sleep"):
        await asyncio.to_thread(executor_job, seconds)
    return {}


async def background_hold(request, seconds):
    await asyncio.sleep(0.05)
    with Note(request, "sleep"):
        sleeping_on_the_loop(seconds)


background = set()


@app.get("/later")
async def endpoint_later(seconds: float):
    asyncio.get_running_loop().call_later(0.05, sleeping_on_the_loop, seconds)
    return {}


@app.get("/spawn")
async def endpoint_spawn(request: Request, seconds: float):
    task = asyncio.create_task(background_hold(request, seconds))
    background.add(task)
    task.add_done_callback(background.discard)
    return {}
