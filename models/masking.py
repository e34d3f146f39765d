"""Span masks over time and over channels (paper §3.1, App. B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpanMask:
    """Which parts of the input training hides (paper §3.1; fine-tuning: App. B)."""

    time_probability: float
    """Share of frames that start a masked span, p. fairseq's `mask_prob` is p · M."""
    time_span: int = 10
    """Frames in a span, M."""
    channel_probability: float = 0.0
    """Share of channels that start a span of channels set to zero."""
    channel_span: int = 64
    """Channels in a span."""


def sample_spans(
    lengths: Tensor,
    size: int,
    *,
    probability: float,
    span: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw starts without replacement and mask `span` positions from each; spans may overlap.

    A row's expected number of starts is probability · length, rounded up or down at random, so that
    short rows are masked as much as long ones. A row with a valid position has at least one start.

    lengths: (B,) valid positions of each row.
    size: N, positions of a row in the result.
    probability: share of the valid positions that start a span (0.065 for BASE pretraining).
    span: positions.

    Returns (B, N) bool on the device of `lengths`, true where masked, never past a row's length.
    Raises ValueError for a probability outside 0 to 1 and a span below 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a mask probability lies between 0 and 1, got {probability}")
    if span < 1:
        raise ValueError(f"a mask span has at least 1 position, got {span}")
    device = lengths.device
    keys = torch.rand(len(lengths), size, generator=generator, device=device)
    coins = torch.rand(len(lengths), generator=generator, device=device)
    if probability == 0:
        return torch.zeros(len(lengths), size, dtype=torch.bool, device=device)
    valid = torch.arange(size, device=device) < lengths[:, None]
    starts = (lengths * probability + coins).floor().clamp(min=1)
    # Valid positions get the first ranks, in random order.
    rank = keys.masked_fill(~valid, 2.0).argsort(1).argsort(1)
    is_start = (rank < starts[:, None]) & valid
    reach = is_start.long().cumsum(1)
    # Starts up to `span` positions earlier: a position is masked if there are more by now.
    before = torch.nn.functional.pad(reach, (span, 0))[:, :size]
    return (reach > before) & valid
