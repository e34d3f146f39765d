"""Which recordings go together in an epoch, and which part of each: a pure function of (lengths, seed, epoch).

Every draw is a hash of (seed, epoch, what is drawn, its number): no generator is advanced, so neither the order of the
work nor a version of numpy changes it. Shapes: N utterances, M of them planned, B micro-batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

BUCKET = 1.04  # longest to shortest of the utterances that are mixed freely: two per cent of padding on average
WINDOW = 8  # shards whose utterances are mixed


@dataclass(frozen=True)
class MicroBatch:
    """Recordings by index, and the samples of each that are read."""

    indices: tuple[int, ...]
    starts: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EpochPlan(Sequence[MicroBatch]):
    """The micro-batches of an epoch as flat arrays: one of four million utterances takes 50 MB and is sent to workers."""

    indices: np.ndarray
    """(M,) which utterance."""
    starts: np.ndarray
    """(M,) the first sample of each that is read."""
    samples: np.ndarray
    """(M,) how many of it are read."""
    offsets: np.ndarray
    """(B + 1,) where each micro-batch begins in the others."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> MicroBatch: ...

    @overload
    def __getitem__(self, index: slice) -> list[MicroBatch]: ...

    def __getitem__(self, index: int | slice) -> MicroBatch | list[MicroBatch]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[
            index
        ]  # IndexError where there is none, and from the end when negative
        part = slice(int(self.offsets[at]), int(self.offsets[at + 1]))
        return MicroBatch(
            tuple(self.indices[part].tolist()),
            tuple(self.starts[part].tolist()),
            tuple(self.samples[part].tolist()),
        )

    def __iter__(self) -> Iterator[MicroBatch]:
        return (self[i] for i in range(len(self)))


def epoch_plan(
    lengths: np.ndarray,
    *,
    budget: int,
    crop: int | None,
    shortest: int = 0,
    equal: bool = False,
    seed: int,
    epoch: int,
    shards: np.ndarray | None = None,
    window: int = WINDOW,
) -> EpochPlan:
    """Micro-batches of at most `budget` padded samples, of utterances of similar length; an utterance that is longer
    than the budget stands alone.

    lengths: (N,) samples of each utterance; those under `shortest` are left out. crop: longer ones are cut to so many
    samples, at a start that is drawn from (seed, epoch, index). shards: (N,) where each lies; then the shards come in a
    drawn order and `window` of them at a time are mixed, so that an epoch is read nearly front to back.

    equal: cut all of a micro-batch to its shortest, as fairseq does in pretraining. Nothing is padded then, every row has
    as many frames, and a network that pads wrongly cannot learn from it; a few per cent of the audio go unheard in this
    epoch. Right for pretraining, where any part is as good as another; never with transcripts, whose ends would be lost.
    """
    if budget < 1 or window < 1 or (crop is not None and crop < 1):
        raise ValueError(
            f"A plan needs a budget, crop and window of at least 1, got {budget}, {crop} and {window}."
        )
    lengths = np.asarray(lengths, np.int64)
    kept = np.flatnonzero(lengths >= max(shortest, 1))
    cut = lengths[kept] if crop is None else np.minimum(lengths[kept], crop)
    draw = _Draw(seed, epoch)
    windows = (
        np.zeros(len(kept), np.int64)
        if shards is None
        else _windows(np.asarray(shards)[kept], window, draw)
    )

    longest = int(cut.max(initial=1))
    steps = np.arange(np.log(longest) / np.log(BUCKET) + 1) + draw.uniform(
        "edges", np.zeros(1, np.int64)
    )
    edges = np.floor(BUCKET**steps).astype(np.int64)  # of the buckets, elsewhere each epoch
    order = np.lexsort((draw.bits("order", kept), -np.searchsorted(edges, cut), windows))
    kept, cut, windows = kept[order], cut[order], windows[order]
    bounds = _bounds(cut, windows, budget, equal)

    begins, counts = bounds[:-1], np.diff(bounds)
    if equal and len(begins):
        cut = np.repeat(np.minimum.reduceat(cut, begins), counts)
    shuffled = np.lexsort((draw.bits("batches", np.arange(len(begins))), windows[begins]))
    counts, offsets = counts[shuffled], np.concatenate([[0], np.cumsum(counts[shuffled])])
    places = np.arange(len(kept)) + np.repeat(begins[shuffled] - offsets[:-1], counts)
    kept, cut = kept[places], cut[places]
    starts = np.floor(draw.uniform("crop", kept) * (lengths[kept] - cut + 1)).astype(np.int64)
    small = np.min_scalar_type(int(max(len(lengths), lengths.max(initial=0))))
    return EpochPlan(kept.astype(small), starts.astype(small), cut.astype(small), offsets)


def _windows(shards: np.ndarray, window: int, draw: _Draw) -> np.ndarray:
    """(M,) which of the windows an utterance is mixed in: `window` shards each, next to each other in a drawn order."""
    names, which = np.unique(shards, return_inverse=True)
    place = np.empty(len(names), np.int64)
    place[np.argsort(draw.bits("shards", names), kind="stable")] = np.arange(len(names))
    return place[which] // window


def _bounds(cut: np.ndarray, windows: np.ndarray, budget: int, equal: bool) -> np.ndarray:
    """(B + 1,) where micro-batches begin when utterances are taken in their order as long as the budget lasts."""
    bounds, first, row, last = [0], 0, 0, -1
    for begin in range(
        0, len(cut), 1 << 20
    ):  # plain numbers, a million at a time: numpy's take five times as long
        part = slice(begin, begin + (1 << 20))
        for at, (size, place) in enumerate(
            zip(cut[part].tolist(), windows[part].tolist(), strict=True), begin
        ):
            row = size if at == first else min(row, size) if equal else max(row, size)
            if at > first and (row * (at - first + 1) > budget or place != last):
                bounds.append(at)
                first, row = at, size
            last = place
    return np.array([*bounds, len(cut)] if len(cut) else bounds, np.int64)


@dataclass(frozen=True)
class _Draw:
    """Random numbers that depend on what they are for and on nothing else."""

    seed: int
    epoch: int

    def bits(self, what: str, numbers: np.ndarray) -> np.ndarray:
        """(N,) uint64, one for each number: splitmix64 (Steele et al. 2014) from a key for (seed, epoch, what)."""
        key = hashlib.blake2b(f"{self.seed}/{self.epoch}/{what}".encode(), digest_size=8).digest()
        x = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        ) + np.frombuffer(key, "<u8")
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))

    def uniform(self, what: str, numbers: np.ndarray) -> np.ndarray:
        """(N,) float64 in [0, 1), one for each number."""
        return np.asarray((self.bits(what, numbers) >> np.uint64(11)) * 2.0**-53)
