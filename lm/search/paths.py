"""The paths that a lexicon search found, read as hypotheses. Legend: T frames, V symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis, Word
from lm.lattice import Lattice, confidences
from lm.score_parts import ScoreParts
from lm.search.alignment import aligned
from lm.search.greedy import Run, spoken_runs, timed_word
from lm.search.setup import SearchSetup


class FoundPath(NamedTuple):
    """One path and its scores, which `Hypothesis` describes."""

    symbols: np.ndarray
    """(T,) or longer, integers: the symbol of each frame."""
    words: np.ndarray
    """(T,) or longer, integers: the index of the word that each frame ends, -1 for none."""
    score: float
    acoustic: float
    lm: float
    entry: int = 0


def hypotheses(
    frames: np.ndarray,
    paths: Iterable[FoundPath],
    setup: SearchSetup,
    count: int,
    lattice: Lattice | None = None,
    scale: float = 1.0,
) -> list[Hypothesis]:
    """Read (T, V) log-probabilities along paths, best first, until `count` hypotheses are found.

    They differ in their words, or in the entry that they began with: of paths that agree in both
    the first one counts.
    lattice: where there is one, words have their posteriors over it for a confidence.
    scale: of the scores in these posteriors.
    """
    found: dict[tuple[int, tuple[str, ...]], Hypothesis] = {}
    posteriors = None if lattice is None else lattice.posteriors(scale)
    for path in paths:
        hypothesis = _hypothesis(frames, path, setup)
        said = hypothesis.entry, tuple(word.text for word in hypothesis.words)
        if said not in found:
            if lattice is not None and posteriors is not None:
                hypothesis = _weighed(hypothesis, path, lattice, posteriors)
            found[said] = hypothesis
        if len(found) == count:
            break
    return list(found.values())


class FoundPaths(NamedTuple):
    """All N paths of an utterance, best first: see `FoundPath`."""

    symbols: np.ndarray
    """(N, T or more)"""
    words: np.ndarray
    """(N, T or more)"""
    scores: np.ndarray
    """(N, 3) score, acoustic and language model's."""
    entries: list[int]


def outlined(
    frames: np.ndarray,
    paths: FoundPaths,
    setup: SearchSetup,
    count: int,
    weights: DecodingWeights,
) -> list[ScoreParts]:
    """The parts of what `hypotheses` reads from these paths. weights: those of the search."""
    found: dict[tuple[int, str], ScoreParts] = {}
    rows = zip(_texts(frames, paths, setup), paths.scores.tolist(), paths.entries, strict=True)
    for said, (score, acoustic, lm), entry in rows:
        text = " ".join(said)
        if (entry, text) not in found:
            parts = ScoreParts(text, acoustic, lm, len(said))
            found[entry, text] = parts.with_silence(score, weights)
        if len(found) == count:
            break
    return list(found.values())


def _texts(frames: np.ndarray, paths: FoundPaths, setup: SearchSetup) -> Iterator[list[str]]:
    """The words of each path, those that have a letter."""
    vocabulary = setup.vocabulary
    letters = np.array([symbol in vocabulary.letters for symbol in vocabulary.symbols])
    letters[vocabulary.blank] = False
    symbols = paths.symbols[:, : len(frames)]
    begun = letters[symbols] & (np.diff(symbols, axis=1, prepend=-1) != 0)
    spelled = np.cumsum(begun, axis=1)  # (N, T) letters so far
    rows, ends = np.nonzero(paths.words >= 0)
    reached = spelled[rows, np.minimum(ends, len(frames) - 1)]
    same = np.diff(rows, prepend=-1) == 0
    whole = reached > np.where(same, np.roll(reached, 1), 0)
    words, owners = paths.words[rows, ends][whole], rows[whole]
    edges = np.searchsorted(owners, np.arange(len(symbols) + 1)).tolist()
    indices = words.tolist()
    for row, (first, last) in enumerate(zip(edges, edges[1:], strict=False)):
        texts = [setup.text(word) for word in indices[first:last]]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts):  # an unknown word is what its letters spell
            found = words_of(frames, paths.symbols[row], paths.words[row], setup)
            known = [word.text for word in found]
        yield known


def _weighed(
    hypothesis: Hypothesis, path: FoundPath, lattice: Lattice, posteriors: np.ndarray
) -> Hypothesis:
    """A hypothesis whose words have their posteriors for confidences."""
    ends = (np.flatnonzero(path.words >= 0) + 1).tolist()
    if len(ends) != len(hypothesis.words) or not lattice.scores.size:
        return hypothesis  # a word without letters, or emissions that allow no path
    spans = zip((word.text for word in hypothesis.words), [0, *ends][:-1], ends, strict=True)
    found = confidences(lattice, posteriors, list(spans))
    words = (
        replace(word, confidence=value) for word, value in zip(hypothesis.words, found, strict=True)
    )
    return replace(hypothesis, words=tuple(words))


def laid(
    frames: np.ndarray,
    words: Sequence[str],
    indices: Sequence[int],
    setup: SearchSetup,
    sil_score: float,
) -> tuple[np.ndarray, np.ndarray] | None:
    """(T,) the symbols of the best path of these words, and (T,) the word that each frame ends.

    indices: of the words. sil_score: added for each frame on the boundary.
    Returns None where the frames are too few.
    """
    spelled = [_spellings(word, index, setup) for word, index in zip(words, indices, strict=True)]
    path = aligned(frames, spelled, setup.silence, setup.vocabulary.blank, sil_score)
    if path is None:
        return None
    said = np.full(len(frames), -1, np.int32)
    said[list(path.ends)] = indices
    return path.symbols, said


def _spellings(word: str, index: int, setup: SearchSetup) -> list[list[int]]:
    """The spellings of a word without the boundary; of an unknown one its letters."""
    if setup.text(index) is None:
        return [list(setup.vocabulary.spell(word))]
    lexicon, silence = setup.lexicon, setup.silence
    assert lexicon is not None
    found = []
    for row in np.flatnonzero(lexicon.owners == index).tolist():
        begin = int(lexicon.ends[row - 1]) if row else 0
        symbols = lexicon.symbols[begin : int(lexicon.ends[row])].tolist()
        found.append([symbol for symbol in symbols if symbol != silence])
    return found


def words_of(
    frames: np.ndarray, symbols: np.ndarray, ended: np.ndarray, setup: SearchSetup
) -> list[Word]:
    """The words of a path through (T, V) log-probabilities: see `FoundPath`."""
    runs = spoken_runs(symbols[: len(frames)], setup.vocabulary)
    return list(_words(frames, runs, ended, setup))


def _hypothesis(frames: np.ndarray, path: FoundPath, setup: SearchSetup) -> Hypothesis:
    runs = spoken_runs(path.symbols[: len(frames)], setup.vocabulary)
    return Hypothesis(
        tuple(_words(frames, runs, path.words, setup)),
        tuple(symbol for _, _, symbol in runs),
        tuple(start for start, _, _ in runs),
        path.acoustic,
        path.lm,
        path.score,
        path.entry,
    )


def _words(
    frames: np.ndarray, runs: list[Run], ended: np.ndarray, setup: SearchSetup
) -> Iterator[Word]:
    """The words of a path; each takes the letters between the end of the one before and its own."""
    vocabulary = setup.vocabulary
    letters = [run for run in runs if vocabulary.symbols[run[2]] in vocabulary.letters]
    starts = np.array([start for start, _, _ in letters], np.int64)
    ends = np.flatnonzero(ended >= 0)
    edges = [0, *np.searchsorted(starts, ends, "right").tolist()]
    for end, first, last in zip(ends.tolist(), edges[:-1], edges[1:], strict=True):
        if last > first:
            text = setup.text(int(ended[end]))
            yield timed_word(frames, letters[first:last], vocabulary, text)
