"""The corpus of strictness: tables of messages, each with its verdict.

    request_lines  headers  framing  chunks  smuggling     requests that must be refused
    wellformed                                             unusual requests that must never be refused
    responses                                              broken backends, and well-formed odd ones
    mutator                                                seeded variations of all of these

A table is a function that yields cases; where variants are systematic (each control byte at each place) it generates
them. All bytes are ours: written from RFC 9110 and 9112 and from what is published about request smuggling.
"""
from corpus.cases import Case, ResponseCase, accept, refuse, responded, undecided  # noqa: F401


def request_cases():
    """All cases about requests, the malformed ones and the well-formed."""
    from corpus import chunks, framing, headers, request_lines, smuggling, wellformed
    found = []
    for module in (request_lines, headers, framing, chunks, smuggling, wellformed):
        found += module.cases()
    return named_once(found)


def response_cases():
    from corpus import responses as table
    return named_once(table.cases())


def named_once(cases):
    names = set()
    for case in cases:
        assert case.name not in names, f"two cases are named {case.name}"
        names.add(case.name)
    return cases
