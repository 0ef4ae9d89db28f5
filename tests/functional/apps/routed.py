"""Routes of every kind: parameters, a path parameter, a mounted application, a root_path, a route that is in no description."""
import os
import time

from fastapi import FastAPI

app = FastAPI(root_path=os.environ.get("ROOT_PATH", ""))
below = FastAPI()


@app.get("/users/{user_id}/orders/{order_id}")
def order(user_id: int, order_id: str):
    time.sleep(0.35)
    return {}


@app.get("/files/{rest:path}")
def file(rest: str):
    time.sleep(0.35)
    return {}


@app.get("/hidden/{thing}", include_in_schema=False)
def hidden(thing: str):
    time.sleep(0.35)
    return {}


@below.get("/things/{thing}")
def thing(thing: str):
    time.sleep(0.35)
    return {}


if os.environ.get("NEWER"):
    @app.get("/newer/{name}")
    def newer(name: str):
        time.sleep(0.35)
        return {}

app.mount("/below", below)
