"""What a kind of case is, and how one case is judged.

A kind makes its undamaged inputs once for each worker, then runs cases by their numbers. A case is
drawn from its number and the name of its kind alone, so that it can be run again by itself.
"""

from __future__ import annotations

import contextlib
import io
import random
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
ENDS = ("well", "told", "traceback", "crash", "hang", "changed")
"""Answered well; told in a sentence; an exception that is no sentence; the process died; it took
too long; the output differs from the right one without a word."""
FAULTS = ENDS[2:]
CONTROL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    end: str
    """One of ENDS."""
    detail: str = ""
    """The sentence that was told, or the last line of the traceback."""
    left: tuple[str, ...] = ()
    """Files, processes, descriptors and shared memory that were left over."""


Run = Callable[[int, Path], Outcome]
"""Runs the case of a number in an empty folder, in which nothing needs to be cleared away."""


@dataclass(frozen=True)
class Kind:
    """Cases of one sort."""

    name: str
    count: int
    """How many cases the whole has."""
    open: Callable[[Path], Run]
    """Makes what the cases damage, in a folder that lasts as long as the worker."""
    seconds: float = 10.0
    """Wall-clock seconds after which a case hangs, and its worker is killed."""
    room: int | None = 2 * GIB
    """Bytes of memory that a case may ask for; None where there is no bound."""


def draw_of(kind: str, number: int) -> random.Random:
    """The generator of a case."""
    return random.Random(f"{kind} {number}")


def judged(call: Callable[[], Any], told: tuple[type[Exception], ...]) -> Outcome:
    """Call a reader, which may return an Outcome where it can tell a right answer from another.

    told: the exceptions whose message a command prints as one sentence.
    """
    try:
        found = call()
    except told as error:
        return sentence(str(error))
    except Exception as error:
        traceback.print_exc()
        return Outcome("traceback", _last_frame(error))
    return found if isinstance(found, Outcome) else Outcome("well")


def sentence(text: str) -> Outcome:
    """What was told, where it is one sentence or a few, with an end."""
    whole = text.strip()
    if not whole.endswith((".", "?")) or not whole[:-1].strip():
        return Outcome("traceback", f"no sentence: {whole[:200]!r}")
    return Outcome("told", whole[:300])


def _last_frame(error: BaseException) -> str:
    """The last place of ours in a traceback, and the exception."""
    frames = [
        f"{Path(frame.filename).name}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and "benchmarks/torture" not in frame.filename
    ]
    return f"{frames[-1] if frames else '?'}: {type(error).__name__}: {error}"[:300]


def command(*args: str) -> tuple[int, str, str]:
    """Run a command in this process as from a shell: exit code, stdout, stderr.

    An exception that is no exit keeps going, as it would end in a traceback.
    """
    from w2v2cli.app import main

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    code: Any = 0
    sys.argv = ["w2v2", *args]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    finally:
        sys.argv = argv
    return (code if isinstance(code, int) else 1), out.getvalue(), err.getvalue()


def commanded(*args: str) -> Outcome:
    """Run a command and judge its end: exit code 0, or another with a sentence on stderr."""

    def call() -> Outcome:
        code, _, err = command(*args)
        if code == 0:
            return Outcome("well")
        last = [line for line in err.splitlines() if line.strip()][-1:]
        if not last:
            return Outcome("changed", f"exit code {code} without a word")
        if CONTROL.search(err):
            return Outcome("traceback", f"control characters on the terminal: {err[-200:]!r}")
        return sentence(last[0])

    return judged(call, ())
