"""When a search of weights may stop early: it cannot, or almost surely does not, come near the best ones known.

Utterances are searched in a random order, drawn anew for each race. Two tests look at each of them:

- the bound: errors only grow, so once they exceed the rival's total, the whole will too. This is certain.
- the bet: a gambler who believes the candidate to be worse bets, before each utterance, a share of what he has on the
  difference to the rival's errors on it. If the candidate is in truth as good as the rival (or better), his capital is a
  supermartingale: that it ever reaches 1/alpha has probability alpha at most (Ville, 1939). Then the race stops. The bound
  holds for any number of looks and any distribution of errors, over the random orders of these very utterances: bets follow
  the sampling without replacement of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
  betting".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["bound", "bet"]

BOLDEST = 0.75  # share of the largest bet that could never ruin the gambler
CAUTION = 4.0  # utterances' worth of a wide guess in the variance, before any were seen


@dataclass
class Race:
    """Candidate against rival, utterance by utterance; `rival` are the rival's errors in the order of the race."""

    rival: Sequence[int]
    alpha: float
    """Probability, at most, that a candidate as good as the rival is stopped by the bet."""
    errors: int = 0
    verdict: Verdict | None = None
    """Why the race is over; None while it runs."""
    done: int = 0
    """Utterances so far."""
    _sum: int = 0
    _squares: int = 0
    _log_capital: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"A race's error rate must lie between 0 and 1, got {self.alpha}.")
        reversed_maxima = np.maximum.accumulate(np.asarray(self.rival, np.int64)[::-1])
        self._largest = reversed_maxima[::-1]  # of the rival's errors from each utterance on
        self._total = int(np.sum(self.rival))

    def add(self, errors: int) -> Verdict | None:
        """The candidate's errors on the next utterance; the verdict, once there is one."""
        difference = int(errors) - int(self.rival[self.done])
        if self.verdict is None:
            self._bet(difference)
        self.done += 1
        self._sum += difference
        self._squares += difference * difference
        self.errors += int(errors)
        if self.verdict is None:
            if self.errors > self._total:
                self.verdict = "bound"
            elif self._log_capital >= math.log(1 / self.alpha):
                self.verdict = "bet"
        return self.verdict

    def _bet(self, difference: int) -> None:
        """Win or lose on one utterance.

        If both totals were equal, the differences still to come would have the mean `even`; if the candidate is better,
        a smaller one. None lies below minus the largest number of errors that the rival still has to make.
        """
        even = -self._sum / (len(self.rival) - self.done)
        worst = -int(self._largest[self.done]) - even
        mean, variance = self._guess()
        if mean <= even or worst >= 0:
            return  # nothing speaks for a bet; or nothing can be lost any more, and the bound will say so
        edge = mean - even
        share = min(edge / (variance + edge * edge), BOLDEST / -worst)
        self._log_capital += math.log1p(share * (difference - even))

    def _guess(self) -> tuple[float, float]:
        """What the next difference will be like: mean and variance of those seen, and a little caution."""
        mean = self._sum / max(self.done, 1)
        variance = max(self._squares - self.done * mean * mean, 0.0)
        return mean, (variance + CAUTION) / (self.done + CAUTION)


def spent(alpha: float, race: int) -> float:
    """The share of an error rate that race number `race`, from 0, may use: all of them, however many, stay below `alpha`."""
    return alpha * 6 / (math.pi**2 * (race + 1) ** 2)
