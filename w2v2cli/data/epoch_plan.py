"""The plan of an epoch: which recordings form a micro-batch, and which part of each is read.

It is a pure function of the lengths, the seed and the epoch. Every random number is a hash of
(seed, epoch, purpose, number): no generator is advanced, so neither the order of the work nor a
version of numpy changes it.

Shapes: N utterances, M of them planned, B micro-batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

# Ratio of the longest to the shortest utterance that are mixed freely: 2 % of padding on average.
BUCKET = 1.04
WINDOW = 8  # shards whose utterances are mixed
BLOCK = 1 << 20  # numbers taken out of an array at a time: plain ones are five times as fast


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch."""

    indices: tuple[int, ...]
    """Which utterances."""
    starts: tuple[int, ...]
    """First sample of each that is read."""
    samples: tuple[int, ...]
    """Number of samples of each that are read."""


@dataclass(frozen=True, eq=False)
class EpochPlan(Sequence[MicroBatch]):
    """The micro-batches of an epoch, in order, as flat arrays.

    A plan of four million utterances takes 50 MB, little enough to send to workers.
    """

    indices: np.ndarray
    """(M,) the utterance at each place."""
    starts: np.ndarray
    """(M,) its first sample that is read."""
    samples: np.ndarray
    """(M,) the number of its samples that are read."""
    offsets: np.ndarray
    """(B + 1,) the place at which each micro-batch begins, and the end."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> MicroBatch: ...

    @overload
    def __getitem__(self, index: slice) -> list[MicroBatch]: ...

    def __getitem__(self, index: int | slice) -> MicroBatch | list[MicroBatch]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[index]  # counts from the end where negative, raises IndexError
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
    equal: bool = False,
    seed: int,
    epoch: int,
    shards: np.ndarray | None = None,
    window: int = WINDOW,
) -> EpochPlan:
    """Divide utterances into micro-batches of similar length, shuffled anew in each epoch.

    lengths: (N,) samples of each utterance; empty ones are left out.
    budget: largest micro-batch in samples, padding included; an utterance that is longer stands
    alone.
    crop: samples to which longer utterances are cut, from a random start; None reads them whole.
    equal: cut all utterances of a micro-batch to its shortest, as fairseq does in pretraining
    (`RawAudioDataset.collater`). Then nothing is padded, every row has the same number of frames,
    and a network that treats padding wrongly cannot learn from it; a few per cent of the audio are
    not heard in this epoch. It suits pretraining, where any part of a recording is as good as
    another, and never labelled audio, whose ends it would cut off.
    seed, epoch: decide all random choices. An utterance's crop depends on its index besides, and
    on nothing else.
    shards: (N,) the shard that holds each utterance. Shards then come in random order, and the
    utterances of `window` shards at a time are mixed, so that files are read nearly front to back.

    Raises ValueError for a budget, crop or window below 1.
    """
    if budget < 1 or window < 1 or (crop is not None and crop < 1):
        raise ValueError(
            "A plan needs a budget, crop and window of at least 1, "
            f"got {budget}, {crop} and {window}."
        )
    draw = _Draw(seed, epoch)
    lengths = np.asarray(lengths, np.int64)
    kept = np.flatnonzero(lengths >= 1)  # (N,) -> (M,)
    cut = lengths[kept] if crop is None else np.minimum(lengths[kept], crop)
    windows = np.zeros(len(kept), np.int64)
    if shards is not None:
        windows = _windows(np.asarray(shards)[kept], window, draw)

    # Sort by window, then by length, longest first; within a bucket of lengths the order is random,
    # so that an utterance meets other neighbours in each epoch.
    order = np.lexsort((draw.bits("order", kept), -_buckets(cut, draw), windows))
    kept, cut, windows = kept[order], cut[order], windows[order]
    bounds = _bounds(cut, windows, budget, equal)  # (B + 1,)
    if equal and len(kept):
        cut = np.repeat(np.minimum.reduceat(cut, bounds[:-1]), np.diff(bounds))  # (B,) -> (M,)
    places, offsets = _shuffled(bounds, windows, draw)
    kept, cut = kept[places], cut[places]
    # Drawn by the utterance's index, so a crop stays the same under another budget or sharding.
    starts = np.floor(draw.uniform("crop", kept) * (lengths[kept] - cut + 1)).astype(np.int64)
    small = np.min_scalar_type(int(max(len(lengths), lengths.max(initial=0))))
    return EpochPlan(kept.astype(small), starts.astype(small), cut.astype(small), offsets)


def _shuffled(
    bounds: np.ndarray, windows: np.ndarray, draw: _Draw
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the micro-batches within each window.

    Returns the old place of the utterance at each new one (M,), and the new bounds (B + 1,).
    """
    begins, counts = bounds[:-1], np.diff(bounds)
    order = np.lexsort((draw.bits("batches", np.arange(len(begins))), windows[begins]))
    counts = counts[order]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    # A micro-batch moves as a block: its places differ by its old beginning minus its new one.
    moved = np.repeat(begins[order] - offsets[:-1], counts)  # (B,) -> (M,)
    return np.arange(len(moved)) + moved, offsets


def _buckets(cut: np.ndarray, draw: _Draw) -> np.ndarray:
    """(M,) the bucket of each length; the shortest lengths are in bucket 0.

    Edges grow by the factor BUCKET. They are shifted at random in each epoch, so that two lengths
    on either side of an edge are not kept apart for ever.
    """
    steps = np.arange(np.log(int(cut.max(initial=1))) / np.log(BUCKET) + 1)
    steps = steps + draw.uniform("edges", np.zeros(1, np.int64))
    return np.searchsorted(np.floor(BUCKET**steps).astype(np.int64), cut)


def _windows(shards: np.ndarray, window: int, draw: _Draw) -> np.ndarray:
    """(M,) the window of each utterance: `window` shards each, neighbours in a random order."""
    names, which = np.unique(shards, return_inverse=True)
    place = np.empty(len(names), np.int64)
    place[np.argsort(draw.bits("shards", names), kind="stable")] = np.arange(len(names))
    return place[which] // window


def _bounds(cut: np.ndarray, windows: np.ndarray, budget: int, equal: bool) -> np.ndarray:
    """(B + 1,) the place of each micro-batch's first utterance, and the end.

    Utterances are taken in their order until the budget is spent or the window ends.
    """
    shorter_or_longer = min if equal else max
    bounds, first, row, last = [0], 0, 0, -1  # row: samples that each utterance will take
    for begin in range(0, len(cut), BLOCK):
        part = slice(begin, begin + BLOCK)
        places = zip(cut[part].tolist(), windows[part].tolist(), strict=True)
        for at, (size, window) in enumerate(places, begin):
            row = size if at == first else shorter_or_longer(row, size)
            if at > first and (row * (at - first + 1) > budget or window != last):
                bounds.append(at)
                first, row = at, size
            last = window
    return np.array([*bounds, len(cut)] if len(cut) else bounds, np.int64)


@dataclass(frozen=True)
class _Draw:
    """Random numbers that depend on their purpose and on nothing else."""

    seed: int
    epoch: int

    def bits(self, purpose: str, numbers: np.ndarray) -> np.ndarray:
        """(N,) uint64, one for each number.

        These are the outputs of splitmix64 (Steele et al. 2014) at the places `numbers`, from a
        state that is a hash of (seed, epoch, purpose).
        """
        name = f"{self.seed}/{self.epoch}/{purpose}".encode()
        state = np.frombuffer(hashlib.blake2b(name, digest_size=8).digest(), "<u8")
        x = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + state
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))

    def uniform(self, purpose: str, numbers: np.ndarray) -> np.ndarray:
        """(N,) float64 in [0, 1), one for each number; see `bits`."""
        return np.asarray((self.bits(purpose, numbers) >> np.uint64(11)) * 2.0**-53)
