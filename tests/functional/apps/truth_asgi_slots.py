"""The truth app for ASGI servers (see truth_kinds.py): GET /KIND/SLOT?seconds=S&id=ID; GET /truth gives the notes.

    waits         asyncio.sleep                 event       a future that a timer completes
    gathers       children                      pooled      a sync endpoint: a thread of anyio's pool
    threaded      asyncio.to_thread             held-busy   computes on the event loop
    held-sleep    time.sleep on the event loop  held-child  the same, in a child task
    quick         hardly anything
"""
import asyncio
import gc
import os
import time

from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware

from truth_kinds import NOTES, Doing, computes, for_slots, sleeps


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


gc.freeze()  # what was imported is no garbage: a full collection of it takes a tenth of a second
inner = FastAPI()
for _ in range(int(os.environ.get("TRUTH_MIDDLEWARES", "0"))):
    inner.add_middleware(Passing)


async def app(scope, receive, send):
    if scope["type"] == "http":
        scope["begun"] = time.monotonic()
    await inner(scope, receive, send)


@for_slots
async def waits(seconds):
    await asyncio.sleep(seconds)


@for_slots
async def awaits_event(seconds):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(seconds, future.set_result, None)
    await future


async def noting_sleep(seconds, doing):
    doing.waits(seconds)
    await asyncio.sleep(seconds)


@for_slots
async def gathers(seconds, doing):
    await asyncio.gather(noting_sleep(seconds, doing), asyncio.sleep(seconds / 2))


@inner.get("/")
async def root():
    return {"pid": os.getpid()}


@inner.get("/truth")
async def truth():
    return NOTES.kept


@inner.get("/waits/{slot}")
async def endpoint_waits(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "await", request.scope["begun"], seconds):
        await waits[slot](seconds)
    return {}


@inner.get("/event/{slot}")
async def endpoint_event(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "await", request.scope["begun"], seconds):
        await awaits_event[slot](seconds)
    return {}


@inner.get("/gathers/{slot}")
async def endpoint_gathers(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "await", request.scope["begun"], seconds) as doing:
        await gathers[slot](seconds, doing)
    return {}


@inner.get("/quick/{slot}")
async def endpoint_quick(request: Request, slot: int, id: str):
    with Doing(id, "quick", request.scope["begun"], 0.001):
        await waits[slot](0.001)
    return {}


@inner.get("/pooled/{slot}")
def endpoint_pooled(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "thread-sleep", request.scope["begun"]):
        sleeps[slot](seconds)
    return {}


def threaded_job(request, slot, seconds, id):
    with Doing(id, "thread-sleep", request.scope["begun"]):
        sleeps[slot](seconds)


@inner.get("/threaded/{slot}")
async def endpoint_threaded(request: Request, slot: int, seconds: float, id: str):
    await asyncio.to_thread(threaded_job, request, slot, seconds, id)
    return {}


@inner.get("/held-busy/{slot}")
async def endpoint_held_busy(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "busy", request.scope["begun"]):
        computes[slot](seconds)
    return {}


@inner.get("/held-sleep/{slot}")
async def endpoint_held_sleep(request: Request, slot: int, seconds: float, id: str):
    with Doing(id, "sleep", request.scope["begun"]):
        sleeps[slot](seconds)
    return {}


async def noting_child(request, slot, seconds, id):
    await asyncio.sleep(0)
    with Doing(id, "sleep", request.scope["begun"]):
        sleeps[slot](seconds)


@inner.get("/held-child/{slot}")
async def endpoint_held_child(request: Request, slot: int, seconds: float, id: str):
    await asyncio.gather(asyncio.sleep(0.01), noting_child(request, slot, seconds, id))
    return {}
