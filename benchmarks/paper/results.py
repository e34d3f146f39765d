"""Figures of cells: errors over seeds, and differences with intervals.

Legend: S seeds, U utterances, D draws of the bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.paper.jobs import Place, read_figures
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import INTERVAL, RESAMPLES


@dataclass(frozen=True)
class Errors:
    """Errors of several seeds on the same utterances."""

    errors: np.ndarray
    """(S, U) int64."""
    lengths: np.ndarray
    """(U,) int64, of the references."""
    wanted: int
    """Seeds that the experiment has."""

    @property
    def rates(self) -> np.ndarray:
        """(S,) errors divided by the length of all references, in percent."""
        rates: np.ndarray = 100 * self.errors.sum(1) / max(int(self.lengths.sum()), 1)
        return rates

    @property
    def mean(self) -> float:
        """Mean of the seeds' rates, in percent."""
        return float(self.rates.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of a sample of the rates; 0 for one seed."""
        return float(self.rates.std(ddof=1)) if len(self.rates) > 1 else 0.0

    @property
    def text(self) -> str:
        """Mean and deviation, and the number of seeds where some are missing."""
        if len(self.rates) == 1:
            return f"{self.mean:.1f} (1 seed)"
        few = f" ({len(self.rates)} seeds)" if len(self.rates) < self.wanted else ""
        return f"{self.mean:.1f} ± {self.deviation:.1f}{few}"


@dataclass(frozen=True)
class Difference:
    """A mean rate minus another, in points, with its 95% interval."""

    first: float
    second: float
    low: float
    high: float
    partial: bool = False
    """Whether seeds are missing."""

    @property
    def points(self) -> float:
        """The first minus the second."""
        return self.first - self.second


@dataclass(frozen=True)
class Results:
    """The figures that are there."""

    place: Place

    def figures(self, cell: str) -> dict[str, Any] | None:
        """The figures of a cell; None where it is not done."""
        return read_figures(self.place.output, cell)

    def errors(self, cells: Sequence[str], corpus: str, characters: bool = False) -> Errors | None:
        """The errors of evaluations that differ by their seed; None where none is done.

        characters: count these, in place of words or phones.
        """
        done = [figures[corpus] for figures in map(self.figures, cells) if figures is not None]
        if not done:
            return None
        names = ("character_errors", "characters") if characters else ("errors", "words")
        if any(found[key] != done[0][key] for found in done for key in ("ids", names[1])):
            raise UserError(f"{', '.join(cells)} were evaluated on different utterances.")
        errors, lengths = ([found[name] for found in done] for name in names)
        return Errors(np.array(errors), np.array(lengths[0]), len(cells))


def difference(first: Errors, second: Errors, same_networks: bool = False) -> Difference:
    """The first mean rate minus the second, of the same utterances.

    The interval is a bootstrap: each draw takes utterances anew, the same for both, and seeds anew,
    for each of both, or the same ones where both are of the same networks.
    """
    generator = np.random.default_rng(0)
    count = len(first.lengths)
    draws = generator.integers(0, count, (RESAMPLES, count))
    times = np.stack([np.bincount(draw, minlength=count) for draw in draws])  # (D, U)
    spoken = np.maximum(times @ first.lengths, 1)  # (D,)
    seeds: np.ndarray | None = None
    means = []
    for some in (first, second):
        rates = (times @ some.errors.T) / spoken[:, None]  # (D, S)
        if seeds is None or not same_networks or len(rates.T) != len(first.errors):
            seeds = generator.integers(0, len(some.errors), (RESAMPLES, len(some.errors)))
        means.append(np.take_along_axis(rates, seeds, 1).mean(1))
    low, high = np.percentile(100 * (means[0] - means[1]), INTERVAL)
    partial = any(len(some.errors) < some.wanted for some in (first, second))
    return Difference(first.mean, second.mean, float(low), float(high), partial)


@dataclass(frozen=True)
class Claim:
    """Something that the paper says, and whether it shows here."""

    text: str
    """A clause: `Pretraining lowers the WER`."""
    found: Difference
    """Positive where the claim holds."""
    higher: bool = False
    """Whether more is better, of which the first is the more; otherwise the second is the less."""

    @property
    def verdict(self) -> str:
        """Whether the interval excludes that there is no difference."""
        if self.found.low > 0:
            return "shows"
        return "the opposite shows" if self.found.high < 0 else "does not show"

    @property
    def sentence(self) -> str:
        """The claim with its figures."""
        found = self.found
        figures = (found.first, found.second) if self.higher else (found.second, found.first)
        return (
            f"{self.text}: {figures[0]:.1f} against {figures[1]:.1f}%, a difference "
            f"of {found.points:.1f} points (95%: {found.low:.1f} to {found.high:.1f}): "
            f"**{self.verdict}**" + (" so far: seeds are missing." if found.partial else ".")
        )
