"""Early stopping of a trial of weights that cannot, or almost surely does not, beat the best one.

Utterances are searched in a random order, drawn anew for each race. Two tests look at each of them:

- the bound: errors only grow. Once they exceed the rival's total, the candidate cannot win. This is
  certain.
- the bet: a gambler who believes that the candidate is worse bets a share of his capital, before
  each utterance, on the difference to the rival's errors on it. If the candidate is as good as the
  rival, or better, the capital is a supermartingale: it ever reaches 1/alpha with a probability of
  at most alpha (Ville, 1939). There the race stops. The bound on this error holds for any number of
  looks and any distribution of errors, over the random orders of these very utterances. Bets follow
  the sampling without replacement of Waudby-Smith and Ramdas (2024), "Estimating means of bounded
  random variables by betting".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["bound", "bet"]

BOLDEST = 0.75  # share of the largest bet that could never ruin the gambler
CAUTION = 4.0  # utterances that the prior guess of the variance counts for


@dataclass
class Race:
    """A candidate against a rival, utterance by utterance."""

    rival: Sequence[int]
    """The rival's errors on each utterance, in the order of the race."""
    alpha: float
    """Largest probability that the bet stops a candidate which is as good as the rival."""
    errors: int = 0
    verdict: Verdict | None = None
    """The test that ended the race; None while it runs."""
    done: int = 0
    """Number of utterances so far."""
    _sum: int = 0
    _squares: int = 0
    _log_capital: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"A race's error rate must lie between 0 and 1, got {self.alpha}.")
        reversed_maxima = np.maximum.accumulate(np.asarray(self.rival, np.int64)[::-1])
        self._largest = reversed_maxima[
            ::-1
        ]  # largest error count of the rival from each utterance on
        self._total = int(np.sum(self.rival))

    def add(self, errors: int) -> Verdict | None:
        """Add the candidate's errors on the next utterance; return the verdict, if there is one."""
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
        """Update the capital by one utterance.

        If both totals are equal in the end, the differences still to come have the mean `even`; if
        the candidate is better, a smaller mean. None of them lies below minus the largest number of
        errors that the rival makes on an utterance still to come.
        """
        even = -self._sum / (len(self.rival) - self.done)
        worst = -int(self._largest[self.done]) - even
        mean, variance = self._guess()
        if mean <= even or worst >= 0:
            # There is no reason to bet; or nothing can be lost, and the bound decides.
            return
        edge = mean - even
        share = min(edge / (variance + edge * edge), BOLDEST / -worst)
        self._log_capital += math.log1p(share * (difference - even))

    def _guess(self) -> tuple[float, float]:
        """A guess at the next difference: mean and cautious variance of those seen."""
        mean = self._sum / max(self.done, 1)
        variance = max(self._squares - self.done * mean * mean, 0.0)
        return mean, (variance + CAUTION) / (self.done + CAUTION)


def spent(alpha: float, race: int) -> float:
    """The part of the error rate `alpha` that race number `race`, from 0, may use.

    The parts of any number of races add up to less than `alpha` (a Basel series).
    """
    return alpha * 6 / (math.pi**2 * (race + 1) ** 2)
