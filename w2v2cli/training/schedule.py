"""Learning rates and temperatures as functions of the update.

They keep no state, so a restart cannot change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Decay = Literal["linear", "exponential"]


@dataclass(frozen=True)
class TriStage:
    """Linear warm-up, a constant stretch, a decay.

    Fine-tuning uses it as it is (paper §4.3; fairseq's `tri_stage`); pretraining without a constant
    stretch and with a rate that starts and ends at zero (paper §4.2; `polynomial_decay`).
    """

    peak: float
    """Peak learning rate."""
    updates: int
    """Number of updates in the whole schedule."""
    warmup: float = 0.1
    """Share of the updates in which the rate rises."""
    constant: float = 0.4
    """Share of the updates at the peak."""
    first_scale: float = 0.01
    """Rate of the first update, as a share of the peak (R)."""
    final_scale: float = 0.05
    """Rate of the last update, as a share of the peak (R)."""
    decay: Decay = "linear"
    """How the rate falls: `linear` as the paper says, `exponential` as fairseq's `tri_stage` does.

    To 5% of the peak, the exponential one has 60% of the linear one's sum of rates.
    """

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise ValueError(f"A run has at least 1 update, got {self.updates}")
        if not self.peak > 0:
            raise ValueError(f"A peak learning rate is above 0, got {self.peak:g}")
        if self.decay == "exponential" and not self.final_scale > 0:
            raise ValueError(
                f"An exponential decay ends above 0, got final_scale {self.final_scale:g}"
            )

    def rate(self, update: int) -> float:
        """Return the learning rate of `update`, counted from 0."""
        rise = self.warmup * self.updates
        hold = rise + self.constant * self.updates
        if update < rise:
            return self.peak * (self.first_scale + (1 - self.first_scale) * update / rise)
        if update < hold:
            return self.peak
        done = min((update - hold) / max(self.updates - hold, 1), 1.0)
        if self.decay == "exponential":
            return self.peak * self.final_scale**done
        return self.peak * (1 - (1 - self.final_scale) * done)

    def described(self) -> str:
        """Return a sentence that describes the schedule."""
        rise = round(self.warmup * self.updates)
        hold = round((self.warmup + self.constant) * self.updates)
        held = f", stays there until {hold}" if hold > rise else ""
        return (
            f"rises from {self.rate(0):.3g} to {self.peak:.3g} over {rise} updates{held}, "
            f"and falls {'exponentially' if self.decay == 'exponential' else 'linearly'} "
            f"to {self.peak * self.final_scale:.3g} at update {self.updates}"
        )


def warm_up_then_linear(peak: float, updates: int, warmup: float = 0.08) -> TriStage:
    """Return the schedule of pretraining: up over the first 8%, then linearly to 0 (paper §4.2)."""
    return TriStage(peak, updates, warmup, constant=0.0, first_scale=0.0, final_scale=0.0)


@dataclass(frozen=True)
class Annealing:
    """A temperature that is multiplied by a factor each update, down to a floor (paper §4.2)."""

    start: float = 2.0
    end: float = 0.5
    factor: float = 0.999995

    def at(self, update: int) -> float:
        """Return the temperature of `update`, counted from 0."""
        return max(self.start * self.factor**update, self.end)
