"""Which utterances go together: batches of similar length, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

NEIGHBOURS = 64  # utterances a shuffled batch is drawn near, in order of length: mixes batches from epoch to epoch


def batches_by_length(
    lengths: Sequence[int], budget: int, *, seed: int | None = None, epoch: int = 0
) -> list[list[int]]:
    """Cut the indices of `lengths` into batches whose padded size (longest · count) stays within `budget`.

    lengths: samples of each utterance. budget: samples of one padded batch; an utterance longer than it stands alone.
    With a seed, lengths are shuffled a little and the batches in full, the same for the same (seed, epoch);
    without, batches come longest first: the first one shows whether the memory suffices.
    """
    if budget < 1:
        raise ValueError(f"a batch needs a budget of at least 1 sample, got {budget}")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    draw = None if seed is None else random.Random(f"{seed}/{epoch}")
    if draw is not None:
        place = {index: rank + draw.uniform(0, NEIGHBOURS) for rank, index in enumerate(order)}
        order.sort(key=place.__getitem__)
    batches: list[list[int]] = [[]]
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        if batches[-1] and longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    if draw is not None:
        draw.shuffle(batches)
    return [batch for batch in batches if batch]
