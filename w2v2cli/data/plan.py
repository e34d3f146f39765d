"""Which recordings go together in an epoch, and which part of each: a pure function of (lengths, seed, epoch)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2v2cli.data.batching import batches_by_length


@dataclass(frozen=True)
class MicroBatch:
    """Recordings by index, and the samples of each that are read."""

    indices: tuple[int, ...]
    starts: tuple[int, ...]
    samples: tuple[int, ...]


Plan = Sequence[MicroBatch]


def epoch_plan(
    lengths: np.ndarray, *, budget: int, crop: int | None, seed: int, epoch: int, shards: np.ndarray | None = None
) -> Plan:
    """Micro-batches of at most `budget` padded samples, utterances longer than `crop` cut to it at a random start."""
    del shards
    cut = np.minimum(lengths, crop) if crop else lengths
    draw = random.Random(f"{seed}/{epoch}/crop")
    plan = []
    for indices in batches_by_length(cut.tolist(), budget, seed=seed, epoch=epoch):
        samples = tuple(int(cut[i]) for i in indices)
        starts = tuple(draw.randint(0, int(lengths[i]) - n) for i, n in zip(indices, samples, strict=True))
        plan.append(MicroBatch(tuple(indices), starts, samples))
    return plan
