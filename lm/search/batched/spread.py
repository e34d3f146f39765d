"""Elements of ranges of any length, side by side in a fixed shape.

Legend: B utterances, K ranges of each, R places for elements.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spread(NamedTuple):
    """The elements of the ranges of each utterance, as many as have room."""

    owner: Tensor
    """(B, R) int64 range of each element."""
    element: Tensor
    """(B, R) int64 the element itself."""
    there: Tensor
    """(B, R) bool, false after the last element; the two above say nothing then."""
    over: Tensor
    """(B, 1) bool, whether there are more elements than places."""


def spread(first: Tensor, count: Tensor, places: Tensor) -> Spread:
    """(B, K) beginnings and lengths of ranges -> their elements; places: 0, 1, ... up to R - 1.

    For example first (5, 9) and count (2, 1) give owners (0, 0, 1) and elements (5, 6, 9).
    """
    sums = count.cumsum(1)
    slot = places.expand(len(sums), -1).contiguous()
    # An element is of the first range whose sum exceeds its place.
    owner = torch.searchsorted(sums, slot, right=True).clamp_(max=count.shape[1] - 1)
    element = (first - sums + count).gather(1, owner) + slot
    last = sums[:, -1:]
    return Spread(owner, element, slot < last, last > len(places))
