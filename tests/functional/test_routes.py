"""The name of a route: told by the application, by the configuration, or guessed; and what a bad description does."""
import json
import time

import pytest

from objects import APPS, Load, keep_answering, until, uvicorn

OPENAPI = {"openapi": "/openapi.json"}


def known(proxy, count=None):
    """Waits until the log says that templates are known."""
    what = f"{count} route templates are known" if count else "route templates are known"
    return until(lambda: what in proxy.log(), what)


def named(proxy, path):
    """(http_route, whether it is a guess) of the slow line of one request."""
    before = len(proxy.slow_lines())
    proxy.client.get(path)
    line = until(lambda: (proxy.slow_lines()[before:] or [None])[0], f"the slow line of {path}")
    return line.get("http_route"), line.get("http_route_guessed", False)


@pytest.fixture
def routed(folder, processes):
    return lambda **options: uvicorn(folder, app="routed:app", app_dir=APPS, **options)


@pytest.mark.core
def test_the_application_tells_its_routes(routed, make_proxy):
    """FastAPI's own description names the routes, a path parameter and a mounted application's, too; the rest is guessed, and says so."""
    proxy = make_proxy(routed(), routes={"openapi": ["/openapi.json", "/below/openapi.json"]})
    known(proxy)
    assert named(proxy, "/users/42/orders/a-7") == ("/users/{user_id}/orders/{order_id}", False)
    assert named(proxy, "/files/a/b/c.txt") == ("/files/{rest}", False)
    assert named(proxy, "/below/things/x") == ("/below/things/{thing}", False)
    assert named(proxy, "/hidden/42") == ("/hidden/{id}", True)


def test_root_path(routed, make_proxy):
    """With a root_path the routes are known with and without it."""
    proxy = make_proxy(routed(env={"ROOT_PATH": "/api/v1"}), routes=OPENAPI)
    known(proxy)
    assert named(proxy, "/users/42/orders/a-7") == ("/users/{user_id}/orders/{order_id}", False)


def test_configured_templates_and_guesses_off(demo_app, make_proxy):
    """Without a description the configured templates count; without guesses the rest has no name."""
    proxy = make_proxy(demo_app, slow={"threshold": "50ms"}, routes={"openapi": "off", "templates": ["/items/{number}"], "guess": False})
    assert named(proxy, "/items/5?seconds=0.1") == ("/items/{number}", False)
    assert named(proxy, "/await?seconds=0.1") == (None, False)


def test_a_backend_that_starts_later_and_comes_back_with_other_routes(folder, routed, make_proxy, processes):
    """The description is read once the application is there, and again when it was away and is back."""
    backend = routed()
    address = backend.address
    backend.stop()
    proxy = make_proxy(address, routes=OPENAPI)
    assert proxy.client.get("/").status == 502
    again = dict(app="routed:app", app_dir=APPS, address=address)
    first = uvicorn(folder, name="first", **again)
    known(proxy)
    first.stop()
    assert proxy.client.get("/").status == 502
    uvicorn(folder, name="second", env={"NEWER": "1"}, **again)
    proxy.client.get("/")
    until(lambda: proxy.log().count("route templates are known") == 2, "the new routes", 30)
    assert named(proxy, "/newer/7") == ("/newer/{name}", False)


DOCUMENTS = {
    "broken": (b'{"openapi": "3.1.0", "paths": {', "it is not JSON"),
    "deep": (b'{"paths":' * 100000, "it is not JSON"),
    "no description": (b'{"detail": "here is no document"}', "neither openapi nor swagger"),
    "html": (b"<!doctype html><p>login", "it is not JSON"),
    "50 MB": (b'{"openapi": "3.1.0", "info": "' + b"x" * 50_000_000, "it is larger than 8 MiB"),
}


@pytest.mark.core
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_bad_description_is_refused_in_words(scripted, make_proxy, folder, kind):
    """A description that is broken, hostile or endless is refused with a sentence, and the traffic goes on."""
    document, says = DOCUMENTS[kind]

    def script(connection):
        while True:
            head = connection.read_head()
            body = document if b"GET /openapi.json " in head else b"{}"
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    proxy = make_proxy(scripted(script), routes=OPENAPI)
    load = Load(proxy.listen, folder, "/x", seconds=1, connections=2)
    until(lambda: says in proxy.log(), says)
    counted = load.finish()
    assert counted["bad_status"] == 0 and counted["socket_errors"] == 0 and counted["requests"] > 100, counted["text"]
    assert proxy.client.get("/").status == 200


def test_an_application_without_a_description_is_not_asked_again_and_again(scripted, make_proxy):
    """A 404 is an answer: nobody asks again within seconds, whatever unknown paths are asked for."""
    asked = []

    def script(connection):
        while True:
            head = connection.read_head()
            if b"GET /openapi.json " in head:
                asked.append(time.monotonic())
            connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

    proxy = make_proxy(scripted(script), routes=OPENAPI)
    until(lambda: "it answers with status 404" in proxy.log(), "the sentence")
    for number in range(50):
        proxy.client.get(f"/unknown/{number}")
    assert len(asked) == 1
    until(lambda: len(asked) == 2, "a second look, for fifty unknown paths came", 10)
    assert asked[1] - asked[0] > 4
