"""Messages on stderr: stdout is for results."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


PIPE_WIDTH = 110  # columns of a table in a file or a pipe, which have no width of their own


def say(sentence: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(f"{sentence}\n")


def stderr_console() -> Console:
    """A rich console on stderr; it prints plain text where stderr is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """A rich console on stdout, for tables."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, width=width)
