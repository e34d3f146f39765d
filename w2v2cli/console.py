"""Messages and progress bars, on stderr: stdout is for results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


PIPE_WIDTH = 110  # columns of a table in a file or a pipe, which have no width of their own


class Advance(Protocol):
    """Move a progress bar to `done` of `total` (None: unknown), perhaps under a new label."""

    def __call__(self, done: float, total: float | None, label: str = "") -> None: ...


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


@contextmanager
def progress(label: str, unit: str = "") -> Iterator[Advance]:
    """Show a progress bar while stderr is a terminal, and nothing otherwise.

    unit: printed after the number, for example " MB".
    """
    if not sys.stderr.isatty():
        yield lambda done, total, label="": None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:.0f}}{unit}"),
        TimeElapsedColumn(),
    )
    # Rich would write what goes to stdout on the terminal of the bar, also where stdout is a file.
    one = sys.stdout.isatty()
    shown = Progress(*columns, console=stderr_console(), transient=True, redirect_stdout=one)
    with shown as bar:
        task = bar.add_task(label, total=None)
        described = label

        def advance(done: float, total: float | None, label: str = "") -> None:
            bar.update(task, completed=done, total=total, description=label or described)

        yield advance
