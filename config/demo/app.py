"""The demo application: one endpoint for each way in which a Python web service gets slow.

Each slow thing sits in its own clearly named function, a few calls below its endpoint, so that the slow line and the flame
graph have something to find. `seconds` says how long it shall last.
"""
import asyncio
import os
import threading
import time

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

app = FastAPI(title="slowproxy demo")


# --- fast ---------------------------------------------------------------------------------------------------------------


@app.get("/")
async def hello():
    return {"hello": "world"}


@app.get("/pid")
async def pid():
    return {"pid": os.getpid()}


@app.get("/items/{item_id}")
async def read_item(item_id: int, seconds: float = 0.0):
    if seconds > 0:
        wait_for_row_lock(seconds)
    return {"item_id": item_id, "pid": os.getpid()}


def wait_for_row_lock(seconds):
    time.sleep(seconds)


# --- CPU work inside `async def`: the whole event loop stands still -------------------------------------------------------


@app.get("/cpu")
async def cpu(seconds: float = 0.8):
    return {"rows": build_report(seconds), "pid": os.getpid()}


def build_report(seconds):
    return render_rows(seconds)


def render_rows(seconds):
    return sum_of_squares_until(time.monotonic() + seconds)


def sum_of_squares_until(deadline):
    total = 0
    while time.monotonic() < deadline:
        for number in range(2000):
            total += number * number
    return total


# --- a blocking call inside `async def`: the event loop sleeps with it ----------------------------------------------------


@app.get("/blocking")
async def blocking(seconds: float = 0.8):
    return {"price": load_prices(seconds), "pid": os.getpid()}


def load_prices(seconds):
    return call_legacy_service(seconds)


def call_legacy_service(seconds):
    time.sleep(seconds)
    return 42


# --- an await that takes long: the event loop is free, this request is not ------------------------------------------------


@app.get("/await")
async def awaiting(seconds: float = 0.8):
    return {"reply": await ask_partner(seconds), "pid": os.getpid()}


async def ask_partner(seconds):
    return await wait_for_partner_reply(seconds)


async def wait_for_partner_reply(seconds):
    await asyncio.sleep(seconds)
    return "yes"


# --- `def` endpoints: Starlette runs them on a thread of its pool ---------------------------------------------------------


@app.get("/sync-sleep")
def sync_sleep(seconds: float = 0.8):
    return {"rows": query_database(seconds), "pid": os.getpid()}


def query_database(seconds):
    return wait_for_database(seconds)


def wait_for_database(seconds):
    time.sleep(seconds)
    return 7


@app.get("/sync-cpu")
def sync_cpu(seconds: float = 0.8):
    return {"pixels": resize_image(seconds), "pid": os.getpid()}


def resize_image(seconds):
    return convolve_until(time.monotonic() + seconds)


def convolve_until(deadline):
    pixel = 1
    while time.monotonic() < deadline:
        for weight in range(2000):
            pixel = (pixel * 31 + weight) % 65521
    return pixel


# --- bodies ---------------------------------------------------------------------------------------------------------------


@app.get("/events")
async def events(count: int = 5, interval: float = 0.1):
    """Server-sent events: one every `interval` seconds, each to be seen by the client at once."""
    return StreamingResponse(make_events(count, interval), media_type="text/event-stream")


async def make_events(count, interval):
    for number in range(count):
        yield f"data: {number}\n\n"
        await asyncio.sleep(interval)


@app.get("/download")
def download(size: int = 1_000_000, block: int = 65536):
    """`size` bytes, chunked."""
    return StreamingResponse(make_blocks(size, block), media_type="application/octet-stream")


def make_blocks(size, block):
    filler = bytes(range(256)) * (block // 256 + 1)
    while size > 0:
        yield filler[: min(size, block)]
        size -= block


@app.post("/echo")
async def echo(request: Request):
    return Response(await request.body(), media_type=request.headers.get("content-type", "application/octet-stream"))


@app.post("/upload")
async def upload(request: Request):
    """Counts the bytes of the body as they stream in, and keeps none of them."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return {"bytes": size}


# --- odd ones, for the tests ----------------------------------------------------------------------------------------------


@app.get("/headers")
async def headers(request: Request):
    return {"headers": request.headers.items(), "client": request.client and request.client.host}


@app.api_route("/status/{code}", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
async def status(code: int):
    return Response(status_code=code)


disconnected = threading.Event()


@app.get("/until-disconnect")
async def until_disconnect(request: Request, limit: float = 30.0):
    """Works until the client goes away; /was-disconnected then says so."""
    disconnected.clear()
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if await request.is_disconnected():
            disconnected.set()
            break
        await asyncio.sleep(0.02)
    return {"disconnected": disconnected.is_set()}


@app.get("/was-disconnected")
async def was_disconnected():
    return {"disconnected": disconnected.is_set()}


# --- an error: a slow service is often a broken one -----------------------------------------------------------------------


@app.get("/error")
async def error():
    return Response("this endpoint fails on purpose", status_code=500)
