"""Deep stacks whose middle changes while everything above and below stays as it was, address by address and byte by byte.

    bottom -> middle_x -> climb -> ... -> climb -> leaf_x

`climb` finds its leaf in a global, and the two middles differ in nothing but their names: the frames of climb lie on another middle each
time, and nothing in them tells. leaf_x is there only while middle_x is, for a millisecond or so: long beside a look, so that what is
told wrongly was remembered, and not read while it changed.
"""
import sys

sys.setrecursionlimit(5000)
DEPTH = int(sys.argv[1])


def climb(depth):
    if depth:
        return climb(depth - 1)
    return leaf()


def twin(name):
    space = {"climb": climb, "DEPTH": DEPTH}
    exec(f"def middle_{name}(): climb(DEPTH)\ndef leaf_{name}():\n    for _ in range(50000): pass\n", space)
    return space[f"middle_{name}"], space[f"leaf_{name}"]


twins = [twin("a"), twin("b")]


def bottom():
    global leaf
    while True:
        for middle, leaf in twins:
            middle()


print("ready", flush=True)
bottom()
