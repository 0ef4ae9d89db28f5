"""Suspended asyncio tasks: their names and the lines they await at."""
from conftest import dump, frames_of, shown, until, watch


def tasks_of(document):
    return {t["name"]: frames_of(t) for t in document["tasks"]}


def test_await_chains(python, start):
    """Each suspended task is there with its name and its chain, innermost awaited line first."""
    app = start(python, "many.py").ready()
    tasks = until(lambda: (t := tasks_of(dump(app.pid))) and len(t) >= 8 and t, "eight tasks")
    chain = [("innermost", app.line("at innermost")), ("middle", app.line("at middle")), ("outermost", app.line("at outermost"))]
    assert tasks["plain"][1:] == chain and tasks["plain"][0][0] == "sleep"
    assert tasks["object"][1:] == [(shown(python, "Slow.__await__"), app.line("at awaitable")), ("await_object", app.line("at await_object"))]
    assert tasks["generator"][1:] == [("agen", app.line("at agen")), ("await_agen", app.line("at await_agen"))]
    assert tasks["gathers"] == [("gathers", app.line("at gathers"))]
    assert tasks["Task-1"][1:] == [("main", app.line("at main"))]
    assert tasks["näme ✓"][1][0] == "innermost"
    assert sum(1 for frames in tasks.values() if frames[1:] == chain) == 3


def test_a_running_task_is_on_its_thread_only(python, start):
    """The task that runs is not listed among the suspended ones."""
    app = start(python, """
import asyncio, time
async def waits(): await asyncio.sleep(3600)
async def main():
    t = asyncio.create_task(waits(), name="waits")
    await asyncio.sleep(0.05)
    print("ready", flush=True); time.sleep(3600)
asyncio.run(main(), debug=False)
""").ready()
    document = dump(app.pid)
    assert list(tasks_of(document)) == ["waits"]
    assert frames_of(document["threads"][0])[0] == ("main", 7)


def test_ten_thousand_tasks(python, start):
    """10,000 tasks are all read."""
    app = start(python, """
import asyncio
async def waits(event): await event.wait()
async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(waits(event)) for _ in range(10000)]
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.wait(tasks)
asyncio.run(main())
""").ready()
    document = until(lambda: len((d := dump(app.pid))["tasks"]) == 10001 and d, "10,001 tasks")
    names = [t["frames"][-1]["name"] for t in document["tasks"]]
    assert names.count("waits") == 10000 and not document["tasks_cut"]


def test_a_storm_of_tasks(python, start):
    """Tasks that are made and end all the time do not make a look fail."""
    app = start(python, """
import asyncio
async def leaf(): await asyncio.sleep(0)
async def middle(): await leaf()
async def main():
    print("ready", flush=True)
    while True: await asyncio.gather(*(middle() for _ in range(20)))
asyncio.run(main())
""").ready()
    counts, stacks = watch(app.pid, 2, "tasks")
    assert counts["taken"] > 200 and counts["failed"] == 0, counts


def test_deep_await_chain(python, start):
    """A chain longer than we follow ends with a mark."""
    app = start(python, """
import asyncio
async def dive(n):
    if n: await dive(n - 1)
    else: print("ready", flush=True); await asyncio.sleep(3600)
async def main():
    await asyncio.create_task(dive(400), name="deep")
asyncio.run(main())
""").ready()
    frames = until(lambda: tasks_of(dump(app.pid)).get("deep"), "the deep task")
    assert frames[-1][0] == "dive" and frames[0] == ("<truncated>", None) and 200 <= len(frames) <= 202
