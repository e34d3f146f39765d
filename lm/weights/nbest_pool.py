"""What other weights would find, predicted from what searches have found: no search is run.

A search at some weights leaves, for each utterance, its best hypotheses with their parts: acoustic score, LM score, words,
frames of silence. At other weights the score of each is a sum of four products. The best of all that earlier searches
left is a prediction of what a search would find there; it is wrong where that search would have found another hypothesis
that none of the earlier ones kept. Och (2003), "Minimum Error Rate Training in Statistical Machine Translation".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis

FINEST = 1e-3  # a silence score nearer to 0 does not tell how many frames it was paid for


@dataclass(frozen=True)
class Parts:
    """A hypothesis as far as weights matter."""

    text: str
    acoustic: float
    lm: float
    words: int
    silence: int = 0
    """Frames given to the word boundary; 0 where the search's silence score was, and it was not tuned."""

    def score(self, weights: DecodingWeights) -> float:
        """At these weights."""
        return (
            self.acoustic
            + weights.lm_weight * self.lm
            + weights.word_score * self.words
            + weights.sil_score * self.silence
        )


def parts_of(hypothesis: Hypothesis, weights: DecodingWeights) -> Parts:
    """Of a hypothesis found by a search with these weights."""
    parts = Parts(
        hypothesis.text, hypothesis.acoustic_score, hypothesis.lm_score, len(hypothesis.words)
    )
    if abs(weights.sil_score) < FINEST:
        return parts
    silence = round((hypothesis.score - parts.score(weights)) / weights.sil_score)
    return Parts(parts.text, parts.acoustic, parts.lm, parts.words, max(silence, 0))


class HypothesisPool:
    """For each utterance every hypothesis that was found so far.

    Utterances may consist of segments that are searched apart: each has a pool of its own.
    """

    def __init__(self, segments: int) -> None:
        self._found: list[dict[tuple[str, int], Parts]] = [{} for _ in range(segments)]
        self._table: np.ndarray | None = None

    def add(self, segment: int, found: Iterable[Parts]) -> None:
        """What a search left of a segment; of one text the likeliest path is kept."""
        pool = self._found[segment]
        for parts in found:
            key = (parts.text, parts.silence)
            if key not in pool or parts.acoustic > pool[key].acoustic:
                pool[key] = parts
                self._table = None

    @property
    def size(self) -> int:
        """Hypotheses in all."""
        return sum(map(len, self._found))

    def best(self, weights: DecodingWeights) -> list[str]:
        """The text of each segment's best hypothesis at these weights; empty where nothing was ever found."""
        if not self._found:
            return []
        table = self._columns()
        scores = table @ np.array([1.0, weights.lm_weight, weights.word_score, weights.sil_score])
        firsts = self._firsts
        highest = np.maximum.reduceat(scores, firsts)
        winning = np.flatnonzero(scores == np.repeat(highest, np.diff([*firsts, len(scores)])))
        winners = winning[np.searchsorted(winning, firsts)]  # the first of those that tie
        return [self._texts[winner] for winner in winners]

    def _columns(self) -> np.ndarray:
        """(hypotheses, 4) parts, segment after segment; an order that does not depend on who was found first."""
        if self._table is None:
            lists = [
                sorted(pool.values(), key=lambda p: (p.text, p.silence)) or [Parts("", 0.0, 0.0, 0)]
                for pool in self._found
            ]
            self._firsts = np.cumsum([0, *map(len, lists)])[:-1]
            everything = [parts for found in lists for parts in found]
            self._texts: Sequence[str] = [parts.text for parts in everything]
            self._table = np.array(
                [(p.acoustic, p.lm, p.words, p.silence) for p in everything], np.float64
            )
        return self._table
