"""Never does the same for long: call trees that alternate, generators, recursion, functions made and freed, threads born and dying.

A caller is told by the name of whom it calls: `alpha_2` is called by `alpha_1` only, `leaf_3` by `fresh_3` only, and so on; so a
stack that never was is seen (test_blocking.py knows the rules).
"""
import threading


def tree(name, depth):
    """name_0 calls name_1 calls ... name_{depth-1}, and each of them is as short as can be."""
    space = {}
    for level in reversed(range(depth)):
        callee = f"{name}_{level + 1}()" if level + 1 < depth else "None"
        exec(f"def {name}_{level}():\n    {callee}\n", space)
    return space[f"{name}_0"]


alpha, beta = tree("alpha", 6), tree("beta", 9)


def inner_generator():
    for number in range(3):
        yield number


def outer_generator():
    yield from inner_generator()


def consume():
    for _ in outer_generator():
        pass


def recurse(depth):
    if depth:
        recurse(depth - 1)


def make_and_free(number):
    space = {}
    exec(f"def leaf_{number}(): pass\ndef fresh_{number}(): leaf_{number}()\n", space)
    space[f"fresh_{number}"]()


def born():
    alpha()
    dying()


def dying():
    beta()


def storm():
    number = 0
    while True:
        number += 1
        alpha()
        consume()
        beta()
        recurse(number % 60)
        make_and_free(number % 7)
        if number % 50 == 0:
            threading.Thread(target=born).start()


def quiet():
    while True:
        alpha()
        beta()


threading.Thread(target=quiet, daemon=True).start()
print("ready", flush=True)
storm()
