"""Paths of symbols and ended words, as a lexicon search leaves them, read as hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lm.hypothesis import Hypothesis, Word
from lm.search.batched.language_models import UNK
from lm.search.greedy import Run, spoken_runs, timed_word
from lm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Path:
    """What a search found. Legend: T frames."""

    tokens: np.ndarray
    """(T,) symbol of each frame."""
    words: np.ndarray
    """(T,) or longer: index of the word that a frame ends, -1 where none does."""
    score: float
    acoustic: float
    language: float


def hypotheses(
    frames: np.ndarray,
    paths: Sequence[Path],
    words: Sequence[str],
    vocabulary: Vocabulary,
    count: int,
) -> list[Hypothesis]:
    """(T, V) log-probabilities and paths, best first -> up to `count` hypotheses that differ in their words."""
    found: dict[tuple[str, ...], Hypothesis] = {}
    for path in paths:
        hypothesis = _hypothesis(frames, path, words, vocabulary)
        found.setdefault(tuple(word.text for word in hypothesis.words), hypothesis)
        if len(found) == count:
            break
    return list(found.values())


def _hypothesis(
    frames: np.ndarray, path: Path, words: Sequence[str], vocabulary: Vocabulary
) -> Hypothesis:
    runs = spoken_runs(path.tokens.astype(np.int64), vocabulary)
    return Hypothesis(
        tuple(_words(frames, runs, path.words, words, vocabulary)),
        tuple(symbol for _, _, symbol in runs),
        tuple(start for start, _, _ in runs),
        path.acoustic,
        path.language,
        path.score,
    )


def _words(
    frames: np.ndarray,
    runs: list[Run],
    ended: np.ndarray,
    words: Sequence[str],
    vocabulary: Vocabulary,
) -> Iterator[Word]:
    """A word has the letters between the end of the one before and its own; outside the lexicon it is what they spell."""
    letters = [run for run in runs if vocabulary.symbols[run[2]] in vocabulary.letters]
    starts = np.array([start for start, _, _ in letters], np.int64)
    ends = np.flatnonzero(ended >= 0)
    edges = [0, *np.searchsorted(starts, ends, "right").tolist()]
    for end, first, last in zip(ends.tolist(), edges[:-1], edges[1:], strict=True):
        if last > first:
            text = words[ended[end]]
            yield timed_word(frames, letters[first:last], vocabulary, None if text == UNK else text)
