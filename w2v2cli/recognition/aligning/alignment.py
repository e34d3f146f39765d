"""When each word and symbol of a text is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm.text.vocabulary import Vocabulary
from w2v2cli.recognition.aligning.spelling import SpelledWord

LONGEST_TAIL = 0.1  # seconds that a word goes on after its last letter, at most


@dataclass(frozen=True)
class AlignedSymbol:
    """A symbol of the model, where the network fires; times in seconds from the start."""

    text: str
    start: float
    end: float
    confidence: float
    """Mean probability (geometric) of the symbol over its frames."""


@dataclass(frozen=True)
class AlignedWord:
    """A word as the text writes it; times in seconds from the recording's start."""

    text: str
    start: float
    end: float
    confidence: float
    """Mean probability (geometric) of its symbols over their frames.

    0 for a word that the model has no letter of: its times are those of the gap where it stands.
    """
    symbols: tuple[AlignedSymbol, ...]


@dataclass(frozen=True)
class AlignedLine:
    """A line of the text."""

    words: tuple[AlignedWord, ...]

    @property
    def text(self) -> str:
        """The line as it is written, with single spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def start(self) -> float:
        """Where its first word begins, in seconds."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """Where its last word ends, in seconds."""
        return self.words[-1].end


@dataclass(frozen=True)
class Alignment:
    """A text laid onto a recording."""

    recording: str
    seconds: float
    """Length of the recording."""
    lines: tuple[AlignedLine, ...]
    score: float
    """Log-probability (natural) of the best path that writes the text."""

    @property
    def words(self) -> tuple[AlignedWord, ...]:
        """All words in order."""
        return tuple(word for line in self.lines for word in line.words)

    @property
    def text(self) -> str:
        """The text as it is written, line by line."""
        return "\n".join(line.text for line in self.lines)


def sequence_of(
    lines: Sequence[Sequence[SpelledWord]], vocabulary: Vocabulary
) -> tuple[list[int], list[int]]:
    """The symbols of a whole text, and where the symbols of each word begin among them.

    A model with a word boundary has one before the first word, between words and after the last.
    """
    edge = [] if vocabulary.word_boundary is None else [vocabulary.word_boundary]
    symbols, begins = [*edge], []
    for word in (word for line in lines for word in line):
        begins.append(len(symbols))
        symbols += word.symbols
        if word.symbols:
            symbols += edge
    return symbols, begins


def timed(
    lines: Sequence[Sequence[SpelledWord]],
    begins: Sequence[int],
    spans: np.ndarray,
    gains: np.ndarray,
    vocabulary: Vocabulary,
    frame_seconds: float,
    seconds: float,
) -> tuple[AlignedLine, ...]:
    """The lines with their times.

    begins: of each word the place of its first symbol in `spans`. spans: (N, 2) first frame of each
    symbol and the one after its last. gains: (T,) the log-probability of the path on each frame.
    seconds: length of the recording.
    """
    sums = np.concatenate([[0.0], np.cumsum(gains, dtype=np.float64)])
    found: list[list[AlignedWord]] = []
    places = iter(begins)
    for line in lines:
        found.append([])
        for word in line:
            begin = next(places)
            heard = [
                (symbol, int(first), int(end))
                for symbol, (first, end) in zip(
                    word.symbols, spans[begin : begin + len(word.symbols)], strict=True
                )
                if symbol != vocabulary.word_boundary
            ]
            after = spans[begin + len(word.symbols) :][:1, 0].tolist() or [-1]
            tail = _tail(heard, after[0], frame_seconds)
            found[-1].append(_word(word.text, heard, tail, sums, vocabulary, frame_seconds))
    return _without_holes(found, seconds)


def _tail(heard: Sequence[tuple[int, int, int]], after: int, frame_seconds: float) -> float:
    """Seconds that a word goes on after the frames of its last letter.

    after: first frame of the boundary or the letter that follows; -1 where none does. A network
    fires early in a letter, and the boundary late: on speech whose times are known a word ends half
    way between.
    """
    if not heard or after < 0:
        return 0.0
    return min((after - heard[-1][2]) * frame_seconds / 2, LONGEST_TAIL)


def _word(
    text: str,
    heard: Sequence[tuple[int, int, int]],
    tail: float,
    sums: np.ndarray,
    vocabulary: Vocabulary,
    frame_seconds: float,
) -> AlignedWord:
    """A word of (symbol, first frame, frame after the last); times of -1 where there is none."""
    if not heard:
        return AlignedWord(text, -1.0, -1.0, 0.0, ())
    symbols = tuple(
        AlignedSymbol(
            vocabulary.symbols[symbol],
            round(first * frame_seconds, 3),
            round(end * frame_seconds, 3),
            _probability(float(sums[end] - sums[first]), end - first),
        )
        for symbol, first, end in heard
    )
    total = sum(float(sums[end] - sums[first]) for _, first, end in heard)
    confidence = _probability(total, sum(end - first for _, first, end in heard))
    end = round(symbols[-1].end + tail, 3)
    return AlignedWord(text, symbols[0].start, end, confidence, symbols)


def _probability(log_sum: float, frames: int) -> float:
    return round(min(float(np.exp(log_sum / frames)), 1.0), 4)


def _without_holes(
    lines: Sequence[Sequence[AlignedWord]], seconds: float
) -> tuple[AlignedLine, ...]:
    """The lines; words without times get the gap between their neighbours, shared out."""
    words = [word for line in lines for word in line]
    done: list[AlignedWord] = []
    while len(done) < len(words):
        place = len(done)
        if words[place].symbols:
            done.append(words[place])
            continue
        after = next((i for i in range(place, len(words)) if words[i].symbols), len(words))
        start = done[-1].end if done else 0.0
        end = words[after].start if after < len(words) else round(seconds, 3)
        edges = np.linspace(start, max(end, start), after - place + 1).round(3).tolist()
        done += [
            AlignedWord(words[place + i].text, edges[i], edges[i + 1], 0.0, ())
            for i in range(after - place)
        ]
    left = iter(done)
    return tuple(AlignedLine(tuple(next(left) for _ in line)) for line in lines)
