"""Messages on stderr: stdout is for results."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


# What moves a terminal's cursor, changes its colours or turns the direction of the text.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PIPE_WIDTH = 110  # columns of a table in a file or a pipe, which have no width of their own


@dataclass
class _Told:
    """How much is told; of the whole program, threads included."""

    quiet: bool = False
    verbose: bool = False


_told = _Told()


@contextmanager
def telling(quiet: bool, verbose: bool) -> Iterator[None]:
    """Tell less inside the block, or more. quiet: errors and results alone."""
    before = _told.quiet, _told.verbose
    _told.quiet, _told.verbose = quiet, verbose
    try:
        yield
    finally:
        _told.quiet, _told.verbose = before


def is_quiet() -> bool:
    """Whether only errors and results are wanted."""
    return _told.quiet


def is_verbose() -> bool:
    """Whether timings and tracebacks are wanted."""
    return _told.verbose


def say(sentence: str) -> None:
    """Print a note or a warning on stderr; nothing where that is not wanted."""
    if not _told.quiet:
        complain(sentence)


def detail(sentence: str) -> None:
    """Print what only who looks for it wants to know, on stderr."""
    if _told.verbose:
        complain(sentence)


def complain(sentence: str) -> None:
    """Print what went wrong on stderr, in any case."""
    sys.stderr.write(f"{printable(sentence)}\n")


def printable(text: str) -> str:
    """A text with its control characters written out: a file that it quotes rules no terminal."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def counted(number: int, noun: str, one: str = "", many: str = "") -> str:
    """`1 error`, `2 errors`; with the verb that follows: `1 file is`, `2 files are`."""
    return f"{number} {noun} {one}".rstrip() if number == 1 else f"{number} {noun}s {many}".rstrip()


def stderr_console() -> Console:
    """A rich console on stderr; it prints plain text where stderr is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """A rich console on stdout, for tables; ids and names neither rule it nor are markup."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Plain(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text), style, control)

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Plain(file=sys.stdout, highlight=False, markup=False, width=width)
