"""What commands show on stderr while a job runs: warnings, downloads, counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from w2v2cli.console import progress, say

if TYPE_CHECKING:
    from w2v2cli.data.locations import OnProgress


def warn(sentence: str) -> None:
    """Print a warning."""
    say(f"Warning: {sentence}")


@contextmanager
def counting(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that counts to a total, while stderr is a terminal."""
    with progress(label) as advance:

        def on_progress(done: int, total: int) -> None:
            advance(done, total, f"{label} {done}/{total}")

        yield on_progress


@contextmanager
def fetching() -> Iterator[OnProgress]:
    """Progress of downloads: a bar in a terminal, elsewhere a line for each file."""
    begun: set[str] = set()
    with progress("", " MB") as advance:

        def on_fetch(file: str, done: int, total: int | None) -> None:
            if file not in begun:
                begun.add(file)
                say(f"Fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))
            advance(done / 1e6, total / 1e6 if total else None, file)

        yield on_fetch
