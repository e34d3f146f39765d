"""Messages on stderr: stdout is for results."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


# What moves a terminal's cursor, changes its colours or turns the direction of the text.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PIPE_WIDTH = 110  # columns of a table in a file or a pipe, which have no width of their own


def say(sentence: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(f"{printable(sentence)}\n")


def printable(text: str) -> str:
    """A text with its control characters written out: a file that it quotes rules no terminal."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def stderr_console() -> Console:
    """A rich console on stderr; it prints plain text where stderr is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """A rich console on stdout, for tables."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, width=width)
