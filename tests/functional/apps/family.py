"""Computes in itself, in a forked child and in a spawned one, for tests of `slowproxy record --subprocesses`."""
import multiprocessing
import os
import sys
import time


def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(500))


def in_fork(seconds):
    burn(seconds)


def in_spawned(seconds):
    burn(seconds)


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    spawned = multiprocessing.get_context("spawn").Process(target=in_spawned, args=(seconds,))
    spawned.start()
    forked = os.fork()
    if forked == 0:
        in_fork(seconds)
        os._exit(0)
    burn(seconds)
    os.waitpid(forked, 0)
    spawned.join()
