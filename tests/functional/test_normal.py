"""What the slow requests of a route spend their time on, against its normal ones: /profiles?route=... on the admin listener."""
import gzip
import urllib.parse

from objects import Client, free_port, until
from test_attribution import SETTINGS, Load, asgi

ROUTE = "/await"


def asked(admin, **query):
    return Client(admin).get("/profiles?" + urllib.parse.urlencode(query))


def counts(admin):
    rows = [row for row in Client(admin).get("/profiles").json() if row["http_route"] == ROUTE]
    return (rows[0]["slow_requests"], rows[0]["normal_requests"]) if rows else (0, 0)


def rig(folder, make_proxy, normal_requests):
    admin = f"127.0.0.1:{free_port()}"
    capture = {**SETTINGS["capture"], "normal_requests": normal_requests}
    return admin, Load(make_proxy(asgi(folder, "httptools", "asyncio", 0), admin={"listen": admin}, slow=SETTINGS["slow"],
                                  capture=capture))


def test_slow_requests_are_held_against_normal_ones(folder, make_proxy):
    """A route has a profile of its slow requests, one of its normal ones, in all forms, and the difference of a request of each."""
    admin, load = rig(folder, make_proxy, 100)
    for _ in range(2):
        load.send("await", 0.4)

    def enough():
        load.proxy.client.get("/await?seconds=0.08&id=normal")
        return counts(admin)[1] >= 5
    until(enough, "normal requests that were looked at")
    load.finish()
    until(lambda: counts(admin)[0] >= 2, "both slow requests")

    for kind in ("slow", "normal"):
        text = asked(admin, route=ROUTE, kind=kind, format="collapsed").body.decode()
        assert "awaiting (" in text and "run_asgi" in text, text
        assert "HELD" not in text and "endpoint_sleep" not in text, text
        for form in ("html", "speedscope", "svg", "pstats", "grafana"):
            assert asked(admin, route=ROUTE, kind=kind, format=form).status == 200, form
        assert gzip.decompress(asked(admin, route=ROUTE, kind=kind, format="pprof").body)

    lines = asked(admin, route=ROUTE, kind="diff", format="collapsed").body.decode().splitlines()
    waits = [line.rsplit(" ", 2) for line in lines if "awaiting (" in line]
    normal_ms, slow_ms = (sum(int(wait[n]) for wait in waits) / 1000 for n in (1, 2))
    assert 300 < slow_ms < 500 and 30 < normal_ms < 150, (normal_ms, slow_ms, lines)
    page = asked(admin, route=ROUTE, kind="diff").body.decode()
    assert "<svg" in page and "hsl(4," in page and " slow requests against " in page, page[:2000]
    assert asked(admin, route=ROUTE, kind="diff", format="svg").body.startswith(b"<?xml")

    assert asked(admin, route="/elsewhere").status == 404
    assert asked(admin, route=ROUTE, kind="other").status == 400
    assert asked(admin, route=ROUTE, format="other").status == 400


def test_normal_requests_are_not_looked_at_unless_asked_for(folder, make_proxy):
    """By default only slow requests cost anything, and the difference says what to set."""
    admin, load = rig(folder, make_proxy, 0)
    for _ in range(5):
        load.proxy.client.get("/await?seconds=0.04&id=normal")
    load.send("await", 0.3)
    load.finish()
    until(lambda: counts(admin) == (1, 0), "the slow request alone")
    answer = asked(admin, route=ROUTE, kind="diff")
    assert answer.status == 404 and b"capture.normal_requests" in answer.body, answer.body
