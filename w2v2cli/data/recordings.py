"""Recordings by index, as training reads them: from files of their own, or from shards that hold thousands."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from w2v2cli.data.audio import measure, read_part
from w2v2cli.data.utterance import Utterance


class Recordings(Protocol):
    """Many recordings whose lengths are known before any is read."""

    @property
    def ids(self) -> Sequence[str]:
        """The name of each."""

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64: samples of each at 16 kHz."""

    @property
    def texts(self) -> Sequence[str | None]:
        """What is said in each, None where nobody wrote it down."""

    @property
    def shards(self) -> np.ndarray | None:
        """(N,) int64: the shard each lies in, so that an epoch can read them one shard after the other; None for files."""

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """`samples` samples of recording `index` from `start` on, to its end by default: (S,) float32, mono, 16 kHz."""


def read_utterance(utterance: Utterance, start: int = 0, samples: int | None = None) -> np.ndarray:
    """An utterance, or `samples` samples of it from `start` on: (S,) float32 mono at 16 kHz.

    Only these are decoded where its file is at 16 kHz. AudioError when the file is shorter than the utterance says.
    """
    if samples is None and utterance.samples is not None:
        samples = utterance.samples - start
    return read_part(utterance.path, utterance.start + start, samples)


def utterance_length(utterance: Utterance) -> int:
    """Samples of an utterance at 16 kHz, from its file where its corpus does not say."""
    return (
        utterance.samples
        if utterance.samples is not None
        else measure(utterance.path) - utterance.start
    )


class Selected:
    """Some of other recordings, in the order given."""

    def __init__(self, source: Recordings, indices: Sequence[int]) -> None:
        self._source, self._indices = source, np.asarray(indices, np.int64)
        self.ids = [source.ids[int(i)] for i in self._indices]
        self.texts = [source.texts[int(i)] for i in self._indices]
        self.lengths = source.lengths[self._indices]
        self.shards = None if source.shards is None else source.shards[self._indices]

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """See `Recordings`."""
        return self._source.read(int(self._indices[index]), start, samples)


class FileRecordings:
    """Utterances as `Recordings`, each in a file of its own or a cut of a longer one.

    Lengths that the corpus does not say are read from the files' headers, `jobs` at a time; AudioError names the first
    file that has none.
    """

    shards = None

    def __init__(self, utterances: Sequence[Utterance], jobs: int = 8) -> None:
        self.utterances = utterances
        self.ids = [utterance.id for utterance in utterances]
        self.texts = [utterance.text for utterance in utterances]
        self.lengths = np.array([utterance.samples or 0 for utterance in utterances], np.int64)
        unknown = [index for index, utterance in enumerate(utterances) if utterance.samples is None]
        with ThreadPoolExecutor(jobs) as pool:  # libsndfile works outside the interpreter's lock
            self.lengths[unknown] = list(
                pool.map(utterance_length, [utterances[index] for index in unknown])
            )

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """`samples` samples of recording `index` from `start` on, to its end by default: (S,) float32, mono, 16 kHz."""
        length = int(self.lengths[index])
        samples = length - start if samples is None else samples
        if start < 0 or samples < 0 or start + samples > length:
            raise IndexError(
                f"{self.ids[index]} has {length} samples, not {start} to {start + samples}."
            )
        return read_utterance(self.utterances[index], start, samples)
