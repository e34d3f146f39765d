"""Searches whose frames come bit by bit: words that are final, and those that may still change.

Words that were given as final never change. A sentence ends when its owner says so.
Legend: T frames of one call, P frames that are still pending, V symbols.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from lm.hypothesis import Word
from lm.native.library import native, pointer
from lm.search.compiled import CompiledSearch
from lm.search.greedy import split_words, spoken_runs, timed_word, valid_frames
from lm.search.paths import words_of
from lm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Heard:
    """What a stream found with its last frames. Frames count from the beginning of the stream."""

    final: tuple[Word, ...]
    """Words that were not final before."""
    partial: tuple[Word, ...]
    """The words after them on the best path; they may still change."""
    silent: int
    """Frames since the last letter of the best path."""


class Path(NamedTuple):
    """The path through pending frames, (P,) each."""

    symbols: np.ndarray
    words: np.ndarray
    """The index of the word that each frame ends, -1 for none."""


class Live(Protocol):
    """A search that takes frames bit by bit."""

    def advance(self, frames: np.ndarray) -> Heard:
        """Search (T, V) float32 log-probabilities further on. Raises ValueError as searches do."""

    def end_sentence(self) -> Heard:
        """End the sentence: all its words are final. The next frames begin another."""


class _Pending:
    """Frames whose words are not final yet."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.start = 0  # of the pending frames, from the stream's beginning
        self._spoken = 0  # the frame after the last letter, from there too
        self.frames = np.zeros((0, len(vocabulary.symbols)), np.float32)
        self._letters = np.array([symbol in vocabulary.letters for symbol in vocabulary.symbols])

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Take (T, V) further frames, checked."""
        valid = valid_frames(frames, len(frames), self.vocabulary)
        valid = np.ascontiguousarray(valid, np.float32)
        self.frames = np.concatenate([self.frames, valid])
        return valid

    def heard(self, final: list[Word], partial: list[Word], symbols: np.ndarray) -> Heard:
        """The words, counted from the stream's beginning. symbols: (P,) the best path."""
        spoken = np.flatnonzero(self._letters[symbols])
        self._spoken = min(self._spoken, self.start)
        if len(spoken):
            self._spoken = self.start + int(spoken[-1]) + 1
        silent = self.start + len(symbols) - self._spoken
        return Heard(tuple(map(self._moved, final)), tuple(map(self._moved, partial)), silent)

    def drop(self, count: int) -> None:
        """Forget the first frames."""
        self.start += count
        self.frames = self.frames[count:]

    def silence(self, symbols: np.ndarray) -> int:
        """How many of the first symbols are no letters."""
        spoken = np.flatnonzero(self._letters[symbols])
        return int(spoken[0]) if len(spoken) else len(symbols)

    def _moved(self, word: Word) -> Word:
        return replace(word, start=word.start + self.start, end=word.end + self.start)


class CompiledStream:
    """The compiled search over one stream.

    Hypotheses of one language model state are one, whatever the search's own options say.
    """

    def __init__(self, search: CompiledSearch, behind: int | None = None) -> None:
        """behind: the last frames that may stay open; what they lie behind is settled, at the price
        of the hypotheses that disagree with the best about it. None settles only what is certain.
        """
        self.search, self.setup = search, search.setup
        self.behind = np.iinfo(np.int32).max if behind is None else behind
        self._pending = _Pending(self.setup.vocabulary)
        self._path = _nothing()  # of the pending frames that are settled
        self._open = 0  # pending frames that are not
        options = search.search_options(search.weights)
        options.nbest, options.by_state, options.lattice = 1, 1, 0
        library, count = native(), len(self.setup.vocabulary.symbols)
        self._stream = library.stream_new(search.engine, ctypes.addressof(options), count)
        if self._stream is None:
            raise MemoryError("The search ran out of memory.")
        self._free = weakref.finalize(self, library.stream_free, self._stream)

    def advance(self, frames: np.ndarray) -> Heard:
        """See `Live`."""
        return self._heard(*self._advanced(self._pending.add(frames)))

    def end_sentence(self) -> Heard:
        """See `Live`."""
        if self.setup.ends_with_blank:  # a last symbol that lasts to the end ends a word, too
            nothing = np.zeros((1, self._pending.frames.shape[1]), np.float32)
            self._settle(*self._advanced(self.setup.searched(nothing)[1:].copy()))
        symbols, words = self._room(0)
        if native().stream_end(self._stream, pointer(symbols), pointer(words)) < 0:
            raise MemoryError("The search ran out of memory: try a smaller beam.")
        heard = self._heard(symbols, words, len(symbols))
        self._pending.drop(len(self._pending.frames))  # letters of no word
        self._path = _nothing()
        return heard

    def _advanced(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Search on: the best path of the open frames, and how many of them are settled."""
        symbols, words = self._room(len(frames))
        settled = native().stream_advance(
            self._stream,
            pointer(frames),
            len(frames),
            self.behind,
            pointer(symbols),
            pointer(words),
        )
        if settled < 0:
            raise MemoryError("The search ran out of memory: try a smaller beam.")
        return symbols, words, settled

    def _settle(self, symbols: np.ndarray, words: np.ndarray, settled: int) -> None:
        """Add what is settled to the path."""
        before = self._path
        self._path = Path(
            np.concatenate([before.symbols, symbols[:settled]]),
            np.concatenate([before.words, words[:settled]]),
        )
        self._open = len(symbols) - settled

    def _room(self, more: int) -> tuple[np.ndarray, np.ndarray]:
        """Arrays for the path of the open frames and some more."""
        return np.zeros(self._open + more, np.int32), np.full(self._open + more, -1, np.int32)

    def _heard(self, symbols: np.ndarray, words: np.ndarray, settled: int) -> Heard:
        """Read the path of the open frames, of which the first are settled now."""
        pending, count = self._pending, len(self._pending.frames)
        open_symbols, open_words = symbols[settled:], words[settled:]
        self._settle(symbols, words, settled)
        path = self._path
        symbols = np.concatenate([path.symbols, open_symbols])
        words = np.concatenate([path.words, open_words])
        every = words_of(pending.frames, symbols, words, self.setup)
        ends = np.flatnonzero(path.words >= 0)
        done = min(int(ends[-1]) + 1, count) if len(ends) else 0
        final = [word for word in every if word.start < done]
        heard = pending.heard(final, every[len(final) :], symbols[:count])
        # What ended is final; so is the silence before the next word, as far as it is settled.
        done += pending.silence(path.symbols[done:count])
        pending.drop(done)
        self._path = Path(path.symbols[done:count], path.words[done:count])
        return heard


class GreedyStream:
    """The best path over one stream: each frame's symbol is final at once, a word when it ends."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._pending = _Pending(vocabulary)

    def advance(self, frames: np.ndarray) -> Heard:
        """See `Live`."""
        self._pending.add(frames)
        return self._heard(ended=False)

    def end_sentence(self) -> Heard:
        """See `Live`."""
        return self._heard(ended=True)

    def _heard(self, ended: bool) -> Heard:
        pending, vocabulary = self._pending, self.vocabulary
        symbols = pending.frames.argmax(1)
        runs = spoken_runs(symbols, vocabulary)
        words = [
            timed_word(pending.frames, word, vocabulary) for word in split_words(runs, vocabulary)
        ]
        boundary = vocabulary.word_boundary
        # The last word goes on until something tells that it ended.
        whole = ended or (bool(runs) and boundary is not None and runs[-1][2] == boundary)
        count = len(words) if whole else max(len(words) - 1, 0)
        heard = pending.heard(words[:count], words[count:], symbols)
        if ended:
            done = len(symbols)
        elif count < len(words):
            done = words[count].start
        else:  # between two words
            done = words[-1].end if words else 0
            done += pending.silence(symbols[done:])
        pending.drop(done)
        return heard


def _nothing() -> Path:
    return Path(np.zeros(0, np.int32), np.zeros(0, np.int32))
