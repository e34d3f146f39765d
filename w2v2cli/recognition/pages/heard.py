"""What the network heard in a few utterances, and the path that the search took through it.

Shapes: T frames, V symbols, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lm.hypothesis import Hypothesis, Word
from w2v2cli.data.audio import Recorded, stream
from w2v2cli.recognition.pipeline import Traced
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions


@dataclass(frozen=True)
class HeardUtterance:
    """One utterance as the network heard it."""

    samples: np.ndarray
    """(S,) float32 at 16 kHz."""
    emission: np.ndarray
    """(T, V) float32 log-probabilities."""
    symbols: tuple[str, ...]
    """The symbol of each of the V outputs."""
    blank: int
    boundary: int | None
    """Index of the symbol that ends a word; None for models without one."""
    path: tuple[tuple[int, int], ...]
    """(frame, symbol) where each symbol of the path found begins."""
    words: tuple[Word, ...]
    """The words found, their places counted from the first frame of the utterance."""
    frame_seconds: float
    """From one frame to the next."""


def hear(
    options: RecognitionOptions,
    recordings: Sequence[Recorded],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[HeardUtterance | str]:
    """Run network and search on a few recordings, keeping what they found on the way.

    Gives, for each in order, what was heard, or the sentence that says why nothing was.
    Raises UserError and UsageError where the model or the search cannot be opened.
    """
    if not recordings:
        return
    with open_pipeline(options) as pipeline:
        vocabulary, frame = pipeline.pool.vocabulary, pipeline.acoustic.seconds_per_frame
        for done, traced in enumerate(pipeline.traced(recordings), 1):
            if traced.error is not None:
                yield traced.error
            else:
                path, words = _joined(traced)
                empty = np.zeros((0, len(vocabulary.symbols)), np.float32)
                yield HeardUtterance(
                    _samples(traced.source),
                    np.concatenate([empty, *(part.emission for part in traced.segments)]),
                    vocabulary.symbols,
                    vocabulary.blank,
                    vocabulary.word_boundary,
                    path,
                    words,
                    frame,
                )
            on_progress(done, len(recordings))


def _samples(recorded: Recorded) -> np.ndarray:
    pieces = stream(recorded, chunk_seconds=60.0)
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def _joined(traced: Traced) -> tuple[tuple[tuple[int, int], ...], tuple[Word, ...]]:
    """The paths and the words of all segments, counted from the recording's first frame."""
    path: list[tuple[int, int]] = []
    words: list[Word] = []
    for segment, found in zip(traced.segments, traced.found, strict=True):
        best: Hypothesis = found[0]
        places = (frame + segment.start for frame in best.frames)
        path += zip(places, best.symbols, strict=True)
        words += [
            Word(w.text, w.start + segment.start, w.end + segment.start, w.confidence)
            for w in best.words
        ]
    return tuple(path), tuple(words)
