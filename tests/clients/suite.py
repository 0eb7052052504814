"""What the client suites share: facts run by name against one broker, each with topics of its own.

A suite decorates its functions with `fact` and ends with `main()`. Every function takes the
bootstrap address; its name is the fact. Usage: SUITE HOST:PORT [NAME...]
"""

import os
import subprocess
import sys
import tempfile
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


class Running:
    """A program that runs beside the suite; ended when its block ends."""

    def __init__(self, command):
        self._out, self._trouble = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._trouble
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait()

    def lines(self):
        """The whole lines printed so far."""
        return _whole(self._out).split("\n")[:-1]

    def complaints(self):
        return _whole(self._trouble)

    def stop(self):
        """Asks it to end, as a person would, and waits until it did."""
        self._child.terminate()
        self._child.wait(timeout=30)


def _whole(file):
    # The child shares the position, so it stays where it is.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


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
