"""What the client suites share: facts run by name against one broker, each with topics of its own.

A suite decorates its functions with `fact` and ends with `main()`. Every function takes the
bootstrap address; its name is the fact. Usage: SUITE HOST:PORT [NAME...]
"""

import sys
import time
import traceback
import uuid

_facts = []


def fact(function):
    _facts.append(function)
    return function


def fresh(what):
    """A name nobody has used."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def eventually(question, within=30, every=0.1):
    """The first true answer; fails when there is none in time."""
    end = time.monotonic() + within
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < end, "not within the time"
        time.sleep(every)


def main():
    bootstrap, names = sys.argv[1], sys.argv[2:]
    failed = 0
    for function in _facts:
        if names and function.__name__ not in names:
            continue
        began = time.monotonic()
        try:
            function(bootstrap)
            outcome = "ok"
        except Exception:  # every fact is told about
            traceback.print_exc()
            outcome, failed = "FAILED", failed + 1
        print(f"{function.__name__} ... {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)
