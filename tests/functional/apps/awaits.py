"""Tasks that await each other, for tests of `slowproxy dump`; says so once all are suspended."""
import asyncio


async def deep():
    await asyncio.sleep(3600)


async def chain():
    await deep()


async def parent():
    await asyncio.gather(asyncio.create_task(chain(), name="first"), asyncio.create_task(chain(), name="second"))


async def main():
    tasks = [asyncio.create_task(parent(), name="parent"), asyncio.create_task(chain(), name="lonely")]
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
