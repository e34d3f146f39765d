"""The parts of a hypothesis's score that weights multiply: all that tuning reads of a search."""

from __future__ import annotations

from typing import NamedTuple

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis

FINEST = 1e-3  # with a silence score nearer to 0 the frames cannot be computed from the score


class ScoreParts(NamedTuple):
    """A hypothesis's text, and the parts of its score that weights multiply."""

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

    def with_silence(self, score: float, weights: DecodingWeights) -> ScoreParts:
        """The same with the frames of silence that make `score` at these weights."""
        if abs(weights.sil_score) < FINEST:
            return self
        silence = round((score - self.score(weights)) / weights.sil_score)
        return self._replace(silence=max(silence, 0))


def parts_of(hypothesis: Hypothesis, weights: DecodingWeights) -> ScoreParts:
    """The parts of a hypothesis that a search with these weights found."""
    parts = ScoreParts(
        hypothesis.text, hypothesis.acoustic_score, hypothesis.lm_score, len(hypothesis.words)
    )
    return parts.with_silence(hypothesis.score, weights)
