"""The truth app for Django (see truth_kinds.py), as one file: `python truth_django_slots.py runserver`, or :asgi.

    sleeps, computes   sync views     waits, held-sleep   async views (under ASGI)
"""
import asyncio
import sys
import time

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from truth_kinds import Doing, computes, for_slots, sleeps

if not settings.configured:
    settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF=__name__, MIDDLEWARE=[],
                       LOGGING_CONFIG=None)


@for_slots
async def waits(seconds):
    await asyncio.sleep(seconds)


def sync_view(work, cause):
    def view(request, slot):
        begun = getattr(request, "scope", {}).get("begun", time.monotonic())
        with Doing(request.GET["id"], cause, begun):
            work[slot](float(request.GET["seconds"]))
        return HttpResponse("done")
    return view


async def waiting_view(request, slot):
    with Doing(request.GET["id"], "await", time.monotonic(), float(request.GET["seconds"])):
        await waits[slot](float(request.GET["seconds"]))
    return HttpResponse("done")


async def holding_view(request, slot):
    with Doing(request.GET["id"], "sleep", time.monotonic()):
        sleeps[slot](float(request.GET["seconds"]))
    return HttpResponse("done")


urlpatterns = [
    path("", lambda request: HttpResponse("here")),
    path("sleeps/<int:slot>", sync_view(sleeps, "serial-sleep")),
    path("computes/<int:slot>", sync_view(computes, "serial-busy")),
    path("waits/<int:slot>", waiting_view),
    path("held-sleep/<int:slot>", holding_view),
]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    application = get_wsgi_application()
    execute_from_command_line(sys.argv)
else:
    inner = get_asgi_application()

    async def asgi(scope, receive, send):
        scope["begun"] = time.monotonic()
        await inner(scope, receive, send)
