"""What a search with other weights would find, predicted from what searches have found.

A search leaves, for each utterance, its best hypotheses with their parts: acoustic score, LM score,
words, frames of silence. At other weights the score of each is a sum of four products. The best of
all kept hypotheses predicts the result of a search there. The prediction is wrong where that search
would find a hypothesis that no earlier one kept.
Och (2003), "Minimum Error Rate Training in Statistical Machine Translation".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis

FINEST = 1e-3  # with a silence score nearer to 0 the frames cannot be computed from the score


@dataclass(frozen=True)
class ScoreParts:
    """The parts of a hypothesis that weights multiply."""

    text: str
    acoustic: float
    lm: float
    words: int
    silence: int = 0
    """Frames of the word boundary; 0 where the search's silence score was 0."""

    def score(self, weights: DecodingWeights) -> float:
        """The score at these weights."""
        return (
            self.acoustic
            + weights.lm_weight * self.lm
            + weights.word_score * self.words
            + weights.sil_score * self.silence
        )


def parts_of(hypothesis: Hypothesis, weights: DecodingWeights) -> ScoreParts:
    """The parts of a hypothesis that a search with these weights found."""
    parts = ScoreParts(
        hypothesis.text, hypothesis.acoustic_score, hypothesis.lm_score, len(hypothesis.words)
    )
    if abs(weights.sil_score) < FINEST:
        return parts
    silence = round((hypothesis.score - parts.score(weights)) / weights.sil_score)
    return ScoreParts(parts.text, parts.acoustic, parts.lm, parts.words, max(silence, 0))


class HypothesisPool:
    """All hypotheses found so far, by segment of audio that is searched by itself."""

    def __init__(self, segments: int) -> None:
        self._found: list[dict[tuple[str, int], ScoreParts]] = [{} for _ in range(segments)]
        self._table: np.ndarray | None = None

    def add(self, segment: int, found: Iterable[ScoreParts]) -> None:
        """Add what a search found in a segment; of equal texts the likeliest path is kept."""
        pool = self._found[segment]
        for parts in found:
            key = (parts.text, parts.silence)
            if key not in pool or parts.acoustic > pool[key].acoustic:
                pool[key] = parts
                self._table = None

    @property
    def size(self) -> int:
        """Number of hypotheses of all segments."""
        return sum(map(len, self._found))

    def best(self, weights: DecodingWeights) -> list[str]:
        """The text of each segment's best hypothesis at these weights.

        It is empty for a segment in which nothing was found.
        """
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
        """(hypotheses, 4) parts, segment after segment, in an order independent of discovery."""
        if self._table is None:
            lists = [
                sorted(pool.values(), key=lambda p: (p.text, p.silence))
                or [ScoreParts("", 0.0, 0.0, 0)]
                for pool in self._found
            ]
            self._firsts = np.cumsum([0, *map(len, lists)])[:-1]
            everything = [parts for found in lists for parts in found]
            self._texts: Sequence[str] = [parts.text for parts in everything]
            self._table = np.array(
                [(p.acoustic, p.lm, p.words, p.silence) for p in everything], np.float64
            )
        return self._table
