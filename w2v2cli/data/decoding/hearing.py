"""How much of several recordings has been heard, beside the lengths that their headers state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import STDIN, AudioError, Channel, Cut, Recorded, Waveform
from w2v2cli.data.decoding.opening import opened

RowT = TypeVar("RowT")


def stated_seconds(recorded: Recorded) -> float | None:
    """The length of a recording by its header, without decoding it; None where that is not known.

    A pipe can be read only once, so it is not opened.
    """
    if isinstance(recorded, Waveform):
        return None
    if isinstance(recorded, Channel):
        recorded = recorded.path
    cut = recorded if isinstance(recorded, Cut) else Cut(recorded, 0)
    if cut.samples is not None:
        return cut.samples / SAMPLE_RATE
    try:
        if cut.path == STDIN or not cut.path.is_file():
            return None
        with opened(cut.path) as decoder:
            if decoder.estimate is None:
                return None
            return max(decoder.estimate / decoder.rate - cut.start / SAMPLE_RATE, 0.0)
    except (AudioError, OSError):  # whoever reads the recording reports it
        return None


@dataclass(frozen=True)
class AudioProgress:
    """How far a job over recordings has come."""

    recordings: int
    """Done, whatever became of them."""
    of: int
    seconds: float
    """Of audio heard, in recordings that are not done too."""
    total: float | None
    """Seconds of audio in all; None where the headers do not tell, or not yet."""


class Hearing:
    """Counts what is heard of recordings, in whatever order, and reports it while `over` runs.

    Lengths are looked up in a thread beside the job.
    """

    def __init__(
        self,
        recorded: Mapping[int, Recorded],
        report: Callable[[AudioProgress], None],
        known: Mapping[int, float | None] | None = None,
    ) -> None:
        """recorded: the recordings by their numbers. known: seconds that are not looked up."""
        self._recorded, self._report, self._known = recorded, report, known or {}
        self._lengths: dict[int, float] = {}
        self._all_looked_up = False
        self._total: float | None = None
        self._seconds: dict[int, float] = {}  # by recording
        self._sum = 0.0
        self._done: set[int] = set()
        self._running = False

    def over(self, rows: Iterable[tuple[int, RowT]]) -> Iterator[tuple[int, RowT]]:
        """The rows (number of the recording, what was found) as they come, each counted as done."""
        thread = threading.Thread(target=self._look_up, name="lengths", daemon=True)
        self._running = True
        thread.start()
        try:
            for number, row in rows:
                self._done.add(number)
                self.hears(number, self._seconds.get(number, 0.0))
                yield number, row
        finally:
            self._running = False
            thread.join()

    def begin(self) -> None:
        """Report that the first recording is about to be heard."""
        if self._running:
            self._tell()

    def hears(self, number: int, seconds: float) -> None:
        """Count so many seconds of a recording, from its beginning."""
        if self._running:
            self._count(number, seconds)
            self._tell()

    def among(self, numbers: Sequence[int]) -> Callable[[int, float], None]:
        """`hears` for a job that only knows places in `numbers`."""
        return lambda place, seconds: self.hears(numbers[place], seconds)

    def _count(self, number: int, seconds: float) -> None:
        stated = self._lengths.get(number) if self._all_looked_up else None
        if stated is not None:  # one that could not be read is done all the same
            seconds = stated if number in self._done else min(seconds, stated)
        self._sum += seconds - self._seconds.get(number, 0.0)
        self._seconds[number] = seconds

    def _tell(self) -> None:
        if self._all_looked_up and self._total is None and self._lengths:
            for number, seconds in list(self._seconds.items()):
                self._count(number, seconds)
            # Where a few headers do not tell, they count as the mean of the others.
            mean = sum(self._lengths.values()) / len(self._lengths)
            self._total = mean * len(self._recorded)
        total = None if self._total is None else max(self._total, self._sum)
        self._report(AudioProgress(len(self._done), len(self._recorded), self._sum, total))

    def _look_up(self) -> None:
        for number, recorded in self._recorded.items():
            if not self._running:
                return
            seconds = self._known.get(number)
            seconds = stated_seconds(recorded) if seconds is None else seconds
            if seconds is not None:
                self._lengths[number] = seconds
        self._all_looked_up = True
