"""How far a job has come, on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from w2v2cli.console import is_quiet, say, stderr_console

FIRST_LINE = 30.0  # seconds without a terminal until the first line; a shorter job prints none
GROWTH = 1.5  # each line waits longer than the one before by this factor
RAREST_LINE = 600.0  # seconds
RECENT = 120.0  # seconds of the past that the speed is measured over


@dataclass(frozen=True)
class Unit:
    """What a job is measured in, and how amounts of it are told."""

    name: str = ""
    """After the amount: `3 of 20 recordings`."""
    timed: bool = True
    """Whether speed and time left are told; training knows better ones."""

    def amount(self, value: float) -> str:
        """A number as a person reads it."""
        return f"{value:.0f}"

    def speed(self, each_second: float) -> str:
        """What is done in a time that gives a number above one."""
        for time_span, seconds in (("second", 1.0), ("minute", 60.0)):
            if each_second * seconds >= 1:
                return f"{each_second * seconds:.0f} a {time_span}"
        return f"{each_second * 3600:.0f} an hour"


class _Megabytes(Unit):
    def amount(self, value: float) -> str:
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"

    def speed(self, each_second: float) -> str:
        return f"{each_second:.1f} MB a second"


class _Audio(Unit):
    """Seconds of audio."""

    def amount(self, value: float) -> str:
        minutes, seconds = divmod(int(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    def speed(self, each_second: float) -> str:
        return f"{each_second:.1f} times real time"


MEGABYTES, AUDIO = _Megabytes("MB"), _Audio("of audio")
RECORDINGS, UTTERANCES, FILES, TRIALS, PLAIN = map(
    Unit, ("recordings", "utterances", "files", "trials", "")
)
UPDATES = Unit("updates", timed=False)


class Advance(Protocol):
    """A job has done `done` of `total` (None: unknown), perhaps of another kind of work.

    label, unit: of that work; those that the progress began with where they are left out.
    """

    def __call__(
        self, done: float, total: float | None, label: str = "", unit: Unit | None = None
    ) -> None: ...


def ignored(done: float, total: float | None, label: str = "", unit: Unit | None = None) -> None:
    """An `Advance` that shows nothing."""


class Telling:
    """The sentence about a job: how much is done, how fast it goes, how long it still takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unit: Unit | None = None
        self._recent: deque[tuple[float, float]] = deque()  # time, amount done by then

    def told(self, done: float, total: float | None, unit: Unit) -> str:
        """`12:30 of 1:02:10 of audio, 9.1 times real time, 5 min left`."""
        speed = self._speed(done, unit)
        of = "" if total is None else f" of {unit.amount(total)}"
        parts = [f"{unit.amount(done)}{of} {unit.name}".rstrip()]
        if speed and unit.timed:
            parts.append(unit.speed(speed))
        if speed and unit.timed and total is not None and total > done:
            parts.append(f"{duration((total - done) / speed)} left")
        return ", ".join(parts)

    def _speed(self, done: float, unit: Unit) -> float:
        """What was done in a second lately; 0 where that is not known."""
        now, recent = self._clock(), self._recent
        if unit != self._unit or (recent and done < recent[-1][1]):  # other work has begun
            recent.clear()
            self._unit = unit
        recent.append((now, done))
        while len(recent) > 2 and now - recent[1][0] >= RECENT:
            recent.popleft()
        spent, made = now - recent[0][0], done - recent[0][1]
        return made / spent if spent > 0 else 0.0


class Lines:
    """A line after half a minute and then ever more rarely, for a log or a pipe."""

    def __init__(
        self,
        label: str,
        unit: Unit,
        write: Callable[[str], None] = say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._unit, self._write, self._clock = label, unit, write, clock
        self._telling = Telling(clock)
        self._pause = FIRST_LINE
        self._due: float | None = None

    def advance(
        self, done: float, total: float | None, label: str = "", unit: Unit | None = None
    ) -> None:
        """See `Advance`."""
        told = self._telling.told(done, total, unit or self._unit)
        now = self._clock()
        if self._due is None:  # the work begins; what came before it is not counted
            self._due = now + FIRST_LINE
        if now < self._due:
            return
        self._write(f"{label or self._label}: {told}")
        self._pause = min(self._pause * GROWTH, RAREST_LINE)
        self._due = now + self._pause


@contextmanager
def progress(label: str, unit: Unit = PLAIN) -> Iterator[Advance]:
    """Show how far a job has come, on stderr; stdout is left alone.

    A bar while stderr is a terminal, which goes at the end; elsewhere `Lines`. Nothing with -q.
    """
    if is_quiet():
        yield ignored
        return
    if not sys.stderr.isatty():
        yield Lines(label, unit).advance
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[told]}"),
    )
    # Rich would write what goes to stdout on the terminal of the bar, also where stdout is a file.
    one = sys.stdout.isatty()
    shown = Progress(*columns, console=stderr_console(), transient=True, redirect_stdout=one)
    telling = Telling()
    with shown as bar:
        task = bar.add_task(_plain(label), total=None, told="")

        def advance(
            done: float, total: float | None, named: str = "", measured: Unit | None = None
        ) -> None:
            told = telling.told(done, total, measured or unit)
            described = _plain(named or label)
            bar.update(task, completed=done, total=total, description=described, told=told)

        yield lambda done, total, label="", unit=None: advance(done, total, label, unit)


def _plain(label: str) -> str:
    """A label as it is: rich would take brackets in a name for its markup."""
    return label.replace("[", "\\[")


def duration(seconds: float) -> str:
    """A time in the unit a person would choose."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
