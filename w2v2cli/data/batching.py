"""Batches of utterances of similar length, for recognition and validation."""

from __future__ import annotations

from collections.abc import Sequence


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut the indices of `lengths` into batches of at most `budget` samples, padding included.

    lengths: samples of each utterance. budget: longest times count of a batch; an utterance that
    is longer than the budget stands alone. Batches come longest first, so that the first one
    shows whether the memory suffices. Raises ValueError for a budget below 1.

    `epoch_plan` makes the shuffled batches of training.
    """
    if budget < 1:
        raise ValueError(f"a batch needs a budget of at least 1 sample, got {budget}")
    batches: list[list[int]] = []
    longest = 0  # of the batch that is being filled: its first
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches
