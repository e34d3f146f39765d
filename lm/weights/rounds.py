"""Several pairs of weights that go through a corpus side by side, each until its race is lost.

All see the utterances in one random order, lot after lot. Lots may come from several processes, and
later ones before earlier ones: what a race decides depends on the order alone, so whatever was
searched after the utterance that decided it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lm.weights.racing import Race

End = Literal["exact", "stopped"]


@dataclass
class Runner:
    """A pair of weights on its way through the corpus."""

    race: Race | None = None
    """Its race against the best pair so far; None goes to the end."""
    errors: list[int] = field(default_factory=list)
    """Errors on each utterance, in the round's order."""
    end: End | None = None
    """How it ended; None while it runs."""

    def add(self, errors: Iterable[int]) -> None:
        """Add errors on the next utterances, until the race is lost."""
        for count in errors:
            self.errors.append(count)
            if self.race is not None and self.race.add(count):
                self.end = "stopped"
                return


@dataclass(frozen=True)
class Lot:
    """Utterances of a round that were searched together."""

    first: int
    """Place of its first utterance in the round's order."""
    errors: Mapping[int, Sequence[int]]
    """Trial -> errors on each utterance, for each trial that ran when the lot was begun."""


class Round:
    """What is known of a round."""

    def __init__(self, order: Sequence[int], races: Mapping[int, Race | None]) -> None:
        """Begin a round. order: the utterances. races: trial -> its race, in `order`."""
        self.order = order
        self.runners = {trial: Runner(race) for trial, race in races.items()}
        self.position = 0
        """Utterances of `order` that every runner has passed or ended before."""

    @property
    def running(self) -> list[int]:
        """The trials that go on."""
        return [trial for trial, runner in self.runners.items() if runner.end is None]

    def add(self, lots: Iterable[Lot]) -> None:
        """Add the lots from `position` on, in order, as far as there is no gap."""
        for lot in lots:
            if lot.first != self.position:
                return
            self.position += max(map(len, lot.errors.values()))
            for trial in self.running:
                self.runners[trial].add(lot.errors[trial])
        if self.position == len(self.order):
            for trial in self.running:
                self.runners[trial].end = "exact"

    def errors(self, trial: int) -> dict[int, int]:
        """Utterance -> errors of a trial, for all utterances or for those before its race ended."""
        return dict(zip(self.order, self.runners[trial].errors, strict=False))
