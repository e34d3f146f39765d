"""Learning rates and temperatures as functions of the update: no state, so a restart cannot change them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TriStage:
    """Linear warm-up, a constant stretch, linear decay.

    Fine-tuning (paper §4.3; reference `tri_stage`) and, with no constant stretch and a rate that starts and ends at
    zero, pretraining (paper §4.2; reference `polynomial_decay`).
    """

    peak: float
    """Highest learning rate."""
    updates: int
    """Length of the whole schedule."""
    warmup: float = 0.1
    """Share of the updates that warm up."""
    constant: float = 0.4
    """Share of the updates at the peak."""
    first_scale: float = 0.01
    """Rate of the first update over the peak (R)."""
    final_scale: float = 0.05
    """Rate of the last update over the peak (R)."""

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise ValueError(f"a run has at least 1 update, got {self.updates}")
        if not self.peak > 0:
            raise ValueError(f"a peak learning rate is above 0, got {self.peak:g}")

    def rate(self, update: int) -> float:
        """The learning rate of `update`, counted from 0."""
        rise = self.warmup * self.updates
        hold = rise + self.constant * self.updates
        if update < rise:
            return self.peak * (self.first_scale + (1 - self.first_scale) * update / rise)
        if update < hold:
            return self.peak
        done = min((update - hold) / max(self.updates - hold, 1), 1.0)
        return self.peak * (1 - (1 - self.final_scale) * done)

    def described(self) -> str:
        """What it will do, in a sentence."""
        rise, hold = (
            round(self.warmup * self.updates),
            round((self.warmup + self.constant) * self.updates),
        )
        held = f", stays there until {hold}" if hold > rise else ""
        return (
            f"rises from {self.rate(0):.3g} to {self.peak:.3g} over {rise} updates{held}, and falls to "
            f"{self.peak * self.final_scale:.3g} at update {self.updates}"
        )


def warm_up_then_linear(peak: float, updates: int, warmup: float = 0.08) -> TriStage:
    """The schedule of pretraining: up over the first 8%, then straight down to zero (paper §4.2)."""
    return TriStage(peak, updates, warmup, constant=0.0, first_scale=0.0, final_scale=0.0)


@dataclass(frozen=True)
class Annealing:
    """A temperature that falls by a factor each update down to a floor (paper §4.2)."""

    start: float = 2.0
    end: float = 0.5
    factor: float = 0.999995

    def at(self, update: int) -> float:
        """The temperature of `update`, counted from 0."""
        return max(self.start * self.factor**update, self.end)
