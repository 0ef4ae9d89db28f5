"""Strictness, judged by what the backend gets: a refusal and nothing, or exactly what independent parsers also read."""
import asyncio
import os
import shutil
import tempfile

import pytest

import corpus
from corpus import mutator
from objects import SANITIZED, Proxy
from strict_play import Judge, cuts_of
from strict_readers import READERS
from strict_responses import ResponseJudge, response_cuts_of
from strict_rig import RecordingBackend, Rig

CUTS = int(os.environ.get("STRICT_CUTS", 1 if SANITIZED else 2))  # ways to cut each case, beside whole
SEED = int(os.environ.get("STRICT_SEED", 20261122))
ROUNDS = int(os.environ.get("STRICT_ROUNDS", 1500))


@pytest.fixture(scope="module")
def stage():
    """A backend and one proxy, for all cases of this file."""
    folder = tempfile.mkdtemp(prefix="slowproxy-strict-")
    os.chmod(folder, 0o755)
    backend = RecordingBackend()
    proxy = Proxy(folder, backend, capture={"enabled": False}, slow={"threshold": "60s"},
                  timeouts={"header": "3s", "idle": "10s", "stream_idle": "3s", "response": "5s"})
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
    backend.forget()

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


def play_requests(stage, cases, cuts, readers=tuple(READERS), lanes=24):
    async def work(rig):
        judge = Judge(rig)
        items = [(case, ()) for case in cases]
        for case in cases:
            items += [(case, (cut,)) for cut in cuts_of(case, cuts)]
        failed = await rig.each(items, judge.play, lanes)
        return judge, failed

    backend = stage[0]
    judge, failed = play(stage, work)
    assert not failed, said(failed)
    none_wrong("not in the language spoken to backends", [f"{what}: {data[:300]}" for what, data in backend.violations])
    none_wrong("fragments at the backend", judge.fragments())
    none_wrong("requests that nobody sent", judge.strays())
    none_wrong("read otherwise from what the backend got", judge.readers_of_the_backends_bytes())
    none_wrong("read otherwise from what the client sent", judge.readers_of_the_clients_bytes(cases, readers))
    print(f"{len(cases)} cases, {judge.runs} runs, {len(judge.forwarded)} different requests forwarded, "
          f"{backend.total} requests in all")


@pytest.mark.core
def test_requests_are_refused_or_read_as_they_were_meant(stage):
    """Whole and in pieces: a malformed request is refused and leaves nothing at the backend; a well-formed one passes."""
    cases = corpus.request_cases()
    assert sum(1 for case in cases if case.statuses) >= 1500
    assert sum(1 for case in cases if not case.statuses and not case.unfinished) >= 200
    play_requests(stage, cases, CUTS)


def play_responses(stage, cases, cuts):
    async def work(rig):
        judge = ResponseJudge(rig)
        items = [(case, ()) for case in cases]
        for case in cases:
            items += [(case, (cut,)) for cut in response_cuts_of(case, cuts)]
        return judge, await rig.each(items, judge.play)

    judge, failed = play(stage, work)
    assert not failed, said(failed)
    none_wrong("what came on the backend's connections", [f"{what}: {data[:300]}" for what, data in stage[0].violations])
    print(f"{len(cases)} answers, {judge.runs} runs: {judge.outcomes}")


@pytest.mark.core
def test_broken_answers_are_told_and_odd_ones_pass(stage):
    """A broken backend gives 502 or a cut connection, an odd one passes byte for byte; no other request is touched."""
    cases = corpus.response_cases()
    assert sum(1 for case in cases if case.verdict != "pass") >= 250
    play_responses(stage, cases, CUTS)


@pytest.mark.core
def test_mutated_requests_never_desync(stage):
    """Whatever becomes of a mutated request, all readers agree on it, and the next request is served as itself."""
    cases = mutator.requests(corpus.request_cases(), SEED, ROUNDS)
    print(f"seed {SEED}, {ROUNDS} rounds (STRICT_SEED, STRICT_ROUNDS)")
    play_requests(stage, cases, 1, readers=("h11",), lanes=200)  # many wait for more until a timeout ends them


@pytest.mark.core
def test_mutated_answers_never_desync(stage):
    """A mutated answer is told as 502, is cut, or is passed on as h11 reads it; never does it touch another request."""
    cases = mutator.responses(corpus.response_cases(), SEED, ROUNDS)
    print(f"seed {SEED}, {ROUNDS} rounds (STRICT_SEED, STRICT_ROUNDS)")
    play_responses(stage, cases, 0)
