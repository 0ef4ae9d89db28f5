"""A Python process with a stack of 30 frames, for sampler_bench: deep.py sleep | deep.py spin. Prints a line when it is there."""
import sys
import time


def descend(depth, leaf):
    if depth > 1:
        return descend(depth - 1, leaf)
    print("ready", flush=True)
    return leaf()


def sleep():
    time.sleep(3600)


def spin():
    number = 0
    while True:
        number = (number * 31 + 7) % 65521


# <module>, 28 times descend, and the leaf
descend(28, {"sleep": sleep, "spin": spin}[sys.argv[1]])
