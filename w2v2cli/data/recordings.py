"""Recordings by index, as training reads them: from files of their own or from shards.

Shapes: N recordings, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from w2v2cli.data.audio import measure, read_part
from w2v2cli.data.loading.flat import Strings, Texts
from w2v2cli.data.utterance import Utterance


class Recordings(Protocol):
    """Many recordings whose lengths are known before any is read."""

    @property
    def ids(self) -> Sequence[str]:
        """The id of each recording."""

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64: samples of each at 16 kHz."""

    @property
    def texts(self) -> Sequence[str | None]:
        """The transcript of each; None where there is none."""

    @property
    def speakers(self) -> Sequence[str | None]:
        """The speaker of each; None where it is unknown."""

    @property
    def shards(self) -> np.ndarray | None:
        """(N,) int64: the shard that holds each; None for files.

        An epoch reads the recordings of one shard after those of another.
        """

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Read `samples` samples of a recording from `start` on: (S,) float32, mono, 16 kHz.

        samples: None reads to the end. Raises IndexError for a part outside the recording,
        UserError for a recording that cannot be read.
        """


def read_utterance(utterance: Utterance, start: int = 0, samples: int | None = None) -> np.ndarray:
    """Read `samples` samples of an utterance from `start` on: (S,) float32, mono, 16 kHz.

    samples: None reads to its end. Only this part is decoded where the file is at 16 kHz.
    Raises AudioError, also for a file that is shorter than the utterance says.
    """
    if samples is None and utterance.samples is not None:
        samples = utterance.samples - start
    return read_part(utterance.path, utterance.start + start, samples)


def utterance_length(utterance: Utterance) -> int:
    """Samples of an utterance at 16 kHz; from its file where its corpus does not say."""
    if utterance.samples is not None:
        return utterance.samples
    return measure(utterance.path) - utterance.start


def samples_of_part(source: Recordings, index: int, start: int, samples: int | None) -> int:
    """Return the samples of a part; None goes to the end. Raises IndexError outside the recording.

    See `Recordings.read`.
    """
    length = int(source.lengths[index])
    samples = length - start if samples is None else samples
    if start < 0 or samples < 0 or start + samples > length:
        raise IndexError(
            f"{source.ids[index]} has {length} samples, not {start} to {start + samples}."
        )
    return samples


class Selected:
    """A selection of other recordings, in the order given, as `Recordings`."""

    def __init__(self, source: Recordings, indices: Sequence[int]) -> None:
        self._source, self._indices = source, np.asarray(indices, np.int64)
        self.ids = Strings.of(source.ids[int(i)] for i in self._indices)
        self.texts = Texts.of([source.texts[int(i)] for i in self._indices])
        self.speakers = Texts.of([source.speakers[int(i)] for i in self._indices])
        self.lengths = source.lengths[self._indices]
        self.shards = None if source.shards is None else source.shards[self._indices]

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Read a part of a recording; see `Recordings.read`."""
        return self._source.read(int(self._indices[index]), start, samples)


class FileRecordings:
    """Utterances as `Recordings`, each a file of its own or a cut of a longer one.

    They are kept as flat arrays, which travel to the processes that read in one piece.

    Lengths that the corpus does not state are read from the files' headers, `jobs` at a time.
    Raises AudioError for the first file whose length cannot be read.
    """

    shards = None

    def __init__(self, utterances: Sequence[Utterance], jobs: int = 8) -> None:
        self.ids = Strings.of(utterance.id for utterance in utterances)
        self.texts = Texts.of([utterance.text for utterance in utterances])
        self.speakers = Texts.of([utterance.speaker for utterance in utterances])
        self.paths: Sequence[str] = Strings.of(str(utterance.path) for utterance in utterances)
        self.starts = np.array([utterance.start for utterance in utterances], np.int64)
        self.lengths = np.array([utterance.samples or 0 for utterance in utterances], np.int64)
        unknown = [index for index, utterance in enumerate(utterances) if utterance.samples is None]
        with ThreadPoolExecutor(jobs) as pool:  # libsndfile works outside the interpreter's lock
            self.lengths[unknown] = list(
                pool.map(utterance_length, [utterances[index] for index in unknown])
            )

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Read a part of a recording; see `Recordings.read`."""
        samples = samples_of_part(self, index, start, samples)
        path = Path(self.paths[index])
        return read_part(path, int(self.starts[index]) + start, samples)
