"""What a search with other weights would find, predicted from what searches have found.

A search leaves, for each utterance, its best hypotheses with their parts: acoustic score, LM score,
words, frames of silence. At other weights the score of each is a sum of four products. The best of
all kept hypotheses predicts the result of a search there. The prediction is wrong where that search
would find a hypothesis that no earlier one kept.
Och (2003), "Minimum Error Rate Training in Statistical Machine Translation".
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lm.decoding import DecodingWeights
from lm.score_parts import ScoreParts


class HypothesisPool:
    """All hypotheses found so far, by segment of audio that is searched by itself."""

    def __init__(self, segments: int) -> None:
        self._found: list[dict[tuple[str, int], ScoreParts]] = [{} for _ in range(segments)]
        self._sorted: list[list[ScoreParts] | None] = [None] * segments
        self._table: np.ndarray | None = None

    def add(self, segment: int, found: Iterable[ScoreParts]) -> None:
        """Add what a search found in a segment; of equal texts the likeliest path is kept."""
        pool = self._found[segment]
        for parts in found:
            key = (parts.text, parts.silence)
            if key not in pool or parts.acoustic > pool[key].acoustic:
                pool[key] = parts
                self._sorted[segment] = self._table = None

    @property
    def size(self) -> int:
        """Number of hypotheses of all segments."""
        return sum(map(len, self._found))

    @property
    def rows_in_all(self) -> int:
        """Number of rows: the hypotheses, and one for each segment in which nothing was found."""
        return len(self._columns()) if self._found else 0

    def best(self, weights: DecodingWeights) -> list[str]:
        """The text of each segment's best hypothesis at these weights.

        It is empty for a segment in which nothing was found.
        """
        return [self.text(row) for row in self.rows(weights).tolist()]

    def text(self, row: int) -> str:
        """The text of a row."""
        self._columns()
        return self._texts[row]

    def rows(self, weights: DecodingWeights) -> np.ndarray:
        """(segments,) each segment's best hypothesis at these weights, as its row among all.

        Rows hold until the next hypothesis is added.
        """
        if not self._found:
            return np.zeros(0, np.int64)
        table = self._columns()
        scores = table @ np.array([1.0, weights.lm_weight, weights.word_score, weights.sil_score])
        firsts = self._firsts
        highest = np.maximum.reduceat(scores, firsts)
        winning = np.flatnonzero(scores == np.repeat(highest, np.diff([*firsts, len(scores)])))
        return winning[np.searchsorted(winning, firsts)]  # the first of those that tie

    def _columns(self) -> np.ndarray:
        """(rows, 4) parts, segment after segment, in an order independent of discovery."""
        if self._table is None:
            lists = [self._in_order(segment) for segment in range(len(self._found))]
            self._firsts = np.cumsum([0, *map(len, lists)])[:-1]
            everything = [parts for found in lists for parts in found]
            self._texts = [parts.text for parts in everything]
            self._table = np.array([parts[1:] for parts in everything], np.float64)
        return self._table

    def _in_order(self, segment: int) -> list[ScoreParts]:
        """The hypotheses of a segment by text, one of nothing where there is none."""
        known = self._sorted[segment]
        if known is None:
            found = sorted(self._found[segment].values(), key=lambda p: (p.text, p.silence))
            known = self._sorted[segment] = found or [ScoreParts("", 0.0, 0.0, 0)]
        return known
