"""From sound that arrives to words: short windows, each with context on both sides, then a search.

A word is final once nothing later can change it, at the latest some seconds after it was said.
Shapes: S samples, T frames, V labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lm.hypothesis import Word
from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.recognition.options import LATENCY
from w2v2cli.recognition.segments import CONTEXT_SECONDS, Window
from w2v2cli.recognition.transcript import TimedWord

if TYPE_CHECKING:
    from lm.search.streaming import Heard, Live
    from w2v2cli.recognition.acoustic_model import AcousticModel

PAUSE_SECONDS = 1.0  # a pause that ends a sentence
SHORTEST_LATENCY = 0.3  # seconds: less leaves the network almost no context


@dataclass(frozen=True)
class Latency:
    """How the seconds between a word and its final text are spent."""

    seconds: float = LATENCY

    @property
    def step(self) -> float:
        """Seconds of sound that the network waits for."""
        return self.seconds / 6

    @property
    def ahead(self) -> float:
        """Seconds after a frame that the network hears before it gives the frame."""
        return self.seconds / 3

    @property
    def behind(self) -> float:
        """Seconds that the search may change its mind about."""
        return self.seconds / 2


@dataclass(frozen=True)
class Event:
    """What was heard with another step; times in seconds from the beginning."""

    final: tuple[TimedWord, ...]
    """Words that are final from now on."""
    partial: tuple[TimedWord, ...]
    """What may follow them; it can still change."""
    sentence_ends: bool
    """Whether the sentence ends with the final words."""


def live_windows(
    chunks: Iterable[np.ndarray], config: Wav2Vec2Config, latency: Latency
) -> Iterator[Window]:
    """Windows whose kept frames follow each other without a gap, as soon as their sound is there.

    Memory holds one window and one chunk.
    """

    def frames(seconds: float) -> int:
        return max(int(seconds * SAMPLE_RATE) // config.stride, 1)

    left, step = frames(CONTEXT_SECONDS), frames(latency.step)
    ahead = frames(latency.ahead)
    buffer = np.zeros(0, np.float32)
    before = 0  # frames of context that the buffer begins with
    for chunk in chunks:
        buffer = np.concatenate([buffer, chunk])
        while len(buffer) >= (samples := config.samples_for(before + step + ahead)):
            yield Window(buffer[:samples], before, before + step, last=False)
            drop = max(before + step - left, 0)
            buffer = buffer[drop * config.stride :]
            before += step - drop
    yield Window(buffer, before, None, last=True)


class Listener:
    """The acoustic model and a search over one stream of sound."""

    def __init__(self, model: AcousticModel, live: Live, latency: Latency) -> None:
        self.model, self.live, self.latency = model, live, latency
        self.config = model.network.config
        self._frame = self.config.stride / SAMPLE_RATE
        self._spoken = False  # whether the sentence has words

    def hear(self, chunks: Iterable[np.ndarray]) -> Iterator[Event]:
        """What is heard, after each window. chunks: (S,) float32 at 16 kHz, of any length."""
        for window in live_windows(chunks, self.config, self.latency):
            [emission] = self.model.log_probs([window.samples])
            # (T, V) -> (frames kept, V): frames at the edges lack context
            heard = self.live.advance(emission[window.keep_from : window.keep_to])
            self._spoken |= bool(heard.final or heard.partial)
            paused = self._spoken and heard.silent * self._frame >= PAUSE_SECONDS
            ends = paused or window.last
            yield self._event(heard, ends=False)
            if ends:
                self._spoken = False
                yield self._event(self.live.end_sentence(), ends=True)

    def _event(self, heard: Heard, ends: bool) -> Event:
        return Event(
            tuple(map(self._timed, heard.final)), tuple(map(self._timed, heard.partial)), ends
        )

    def _timed(self, word: Word) -> TimedWord:
        start, end = (round(frame * self._frame, 3) for frame in (word.start, word.end))
        return TimedWord(word.text, start, end, round(word.confidence, 4))
