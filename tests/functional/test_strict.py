"""Strictness, judged by what the backend gets: a refusal and nothing, or exactly what independent parsers also read."""
import asyncio
import os
import shutil
import tempfile

import pytest

import corpus
from objects import SANITIZED, Proxy
from strict_play import Judge, cuts_of
from strict_rig import RecordingBackend, Rig

CUTS = int(os.environ.get("STRICT_CUTS", 1 if SANITIZED else 2))  # ways to cut each case, beside whole


@pytest.fixture(scope="module")
def stage():
    """A backend and one proxy, for all cases of this file."""
    folder = tempfile.mkdtemp(prefix="slowproxy-strict-")
    os.chmod(folder, 0o755)
    backend = RecordingBackend()
    proxy = Proxy(folder, backend, capture={"enabled": False}, slow={"threshold": "60s"},
                  timeouts={"header": "3s", "idle": "20s", "stream_idle": "3s", "response": "15s"})
    yield backend, proxy
    running = proxy.running()
    proxy.stop()
    said = proxy.errors()
    shutil.rmtree(folder, ignore_errors=True)
    backend.listener.close()
    assert running, f"the proxy ended by itself: {said[-6000:]}"
    assert "Sanitizer" not in said and "runtime error:" not in said, said[-6000:]


def play(stage, work):
    """Runs work(rig) in a loop in which the backend serves, too."""
    backend, proxy = stage

    async def run():
        accepting = asyncio.ensure_future(backend.accept())
        try:
            return await work(Rig(backend, proxy.listen))
        finally:
            accepting.cancel()

    return asyncio.run(run())


def said(failed):
    """The first failures, as a test should show them."""
    lines = []
    for item, failure in failed[:int(os.environ.get("STRICT_SHOWN", 25))]:
        lines.append(f"{item[0].name} cut at {item[1]}: {type(failure).__name__} {failure}\n    {item[0].data[:300]}")
    return f"{len(failed)} failed\n" + "\n".join(lines)


def none_wrong(what, wrong):
    assert not wrong, f"{what}: {len(wrong)}\n" + "\n".join(wrong[:25])


def play_requests(stage, cases, cuts):
    async def work(rig):
        judge = Judge(rig)
        items = [(case, ()) for case in cases]
        for case in cases:
            items += [(case, (cut,)) for cut in cuts_of(case, cuts)]
        failed = await rig.each(items, judge.play)
        return judge, failed

    backend = stage[0]
    judge, failed = play(stage, work)
    assert not failed, said(failed)
    none_wrong("not in the language spoken to backends", [f"{what}: {data[:300]}" for what, data in backend.violations])
    none_wrong("fragments at the backend", judge.fragments())
    none_wrong("requests that nobody sent", judge.strays())
    none_wrong("read otherwise from what the backend got", judge.readers_of_the_backends_bytes())
    none_wrong("read otherwise from what the client sent", judge.readers_of_the_clients_bytes(cases))
    print(f"{len(cases)} cases, {judge.runs} runs, {len(judge.forwarded)} different requests forwarded, {backend.total} requests in all")


@pytest.mark.core
def test_requests_are_refused_or_read_as_they_were_meant(stage):
    """Whole and in pieces: a malformed request is refused and leaves nothing at the backend; a well-formed one passes."""
    cases = corpus.requests()
    assert sum(1 for case in cases if case.statuses) >= 1500 and sum(1 for case in cases if not case.statuses and not case.unfinished) >= 200
    play_requests(stage, cases, CUTS)
