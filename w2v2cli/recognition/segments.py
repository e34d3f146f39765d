"""From windows of a recording to segments that are searched.

A long recording is read in overlapping windows. Only frames that have context on both sides are
kept, so the joined frames are those of one long utterance. They are then cut into segments that a
beam search can hold, at the longest pause between two words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.config import SAMPLE_RATE, Wav2Vec2Config

# A recording up to this length is one window and one segment; LibriSpeech's longest has 35 s.
WHOLE_SECONDS = 40.0
WINDOW_SECONDS = 30.0
CONTEXT_SECONDS = 3.0  # at each edge of a window; its frames there are dropped
SHORTEST_SEGMENT_SECONDS = 8.0
SENTENCE_PAUSE_SECONDS = 0.5  # a cut in a pause as long as this ends a sentence


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, and the range of its frames that are kept."""

    samples: np.ndarray  # (S,) float32 at 16 kHz
    keep_from: int
    """First frame kept, counted from the window's start."""
    keep_to: int | None
    """Frame after the last one kept; None keeps all."""
    last: bool
    """Whether the recording ends with this window."""


def windows(chunks: Iterator[np.ndarray], config: Wav2Vec2Config) -> Iterator[Window]:
    """Cut a stream of samples into windows whose kept frames follow each other without a gap.

    Memory holds at most `WHOLE_SECONDS` and one chunk. A recording up to that length is one window.
    """
    stride = config.stride
    whole = int(WHOLE_SECONDS * SAMPLE_RATE)
    context = int(CONTEXT_SECONDS * SAMPLE_RATE) // stride  # frames
    inner = (
        int(WINDOW_SECONDS * SAMPLE_RATE) // stride - 2 * context
    )  # frames kept of a window within
    buffer = np.zeros(0, np.float32)
    before = 0  # frames of context that the buffer begins with
    for chunk in chunks:
        buffer = np.concatenate([buffer, chunk])
        while len(buffer) > whole:
            samples = config.samples_for(before + inner + context)
            yield Window(buffer[:samples], before, before + inner, last=False)
            buffer = buffer[(before + inner - context) * stride :]
            before = context
    yield Window(buffer, before, None, last=True)


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording's frames that is searched as one utterance."""

    start: int
    """First frame, counted from the recording's start."""
    emission: np.ndarray  # (T, V) float32 log-probabilities
    ends: bool
    """Whether its sentence ends with it: with the recording, or in a pause that is long enough."""


class Segmenter:
    """Joins the kept frames of a recording's windows; yields segments once they are certain."""

    def __init__(self, frame_rate: float, blank: int, word_boundary: int | None) -> None:
        """frame_rate: frames per second of the emissions."""
        self.shortest = int(SHORTEST_SEGMENT_SECONDS * frame_rate)
        self.longest = int(WINDOW_SECONDS * frame_rate)
        self.whole = int(WHOLE_SECONDS * frame_rate)
        self.pause = int(SENTENCE_PAUSE_SECONDS * frame_rate)
        self.blank, self.word_boundary = blank, word_boundary
        self.start = 0
        self.pending: list[np.ndarray] = []

    def add(self, emission: np.ndarray, last: bool) -> Iterator[Segment]:
        """Take (T, V) further frames, and yield the segments that are complete.

        last: whether these frames end the recording; then every segment is complete.
        """
        self.pending.append(emission)
        frames = np.concatenate(self.pending)
        while len(frames) > self.whole:
            cut, pause = self.cut(frames[: self.longest])
            yield Segment(self.start, frames[:cut], pause >= self.pause)
            self.start, frames = self.start + cut, frames[cut:]
        self.pending = [frames]
        if last:
            self.pending = []
            if len(frames):
                yield Segment(self.start, frames, ends=True)

    def cut(self, frames: np.ndarray) -> tuple[int, int]:
        """Where to cut (T, V) frames, in the middle of the longest pause between words.

        Returns the frame and the frames of the pause; 0 of them where no word ends.

        A pause is a run of frames whose best symbol is the blank or the word boundary. It lies
        between words if the boundary is among them. Where no word ends, the longest run of blanks
        is cut; where there is no blank either, nothing is.
        """
        best = frames.argmax(1)
        silent = (best == self.blank) | (best == self.word_boundary)
        silent[: self.shortest] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
        runs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
        between = [run for run in runs if (best[slice(*run)] == self.word_boundary).any()]
        if not runs:
            return len(frames), 0
        first, end = max(between or runs, key=lambda run: run[1] - run[0])
        if not between:
            return (first + end) // 2, 0
        # After the boundary symbol: before it is the end of a word, after it the next may begin.
        boundary = first + int(np.flatnonzero(best[first:end] == self.word_boundary)[-1]) + 1
        return max(boundary, (first + end) // 2), end - first
