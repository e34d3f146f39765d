"""Learning rates as functions of the update: no state, so a restart cannot change them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TriStage:
    """Linear warm-up, a constant stretch, linear decay (paper §4.3; reference `tri_stage`)."""

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
