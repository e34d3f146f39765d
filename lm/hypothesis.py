"""The results of a search: hypotheses and their words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm.lattice import Lattice


@dataclass(frozen=True)
class Word:
    """A word and its place in the utterance."""

    text: str
    start: int
    """First frame of its first symbol."""
    end: int
    """Frame after its last symbol."""
    confidence: float
    """How sure it is, in [0, 1]: the posterior of the word over the lattice, where a search kept
    one; else the geometric mean of the probabilities of its symbols on their frames."""


@dataclass(frozen=True)
class Hypothesis:
    """One reading of an utterance, with its acoustic and language model scores apart."""

    words: tuple[Word, ...]
    symbols: tuple[int, ...]
    """The path with repeats and blanks removed."""
    frames: tuple[int, ...]
    """The first frame of each of `symbols`."""
    acoustic_score: float
    """Sum of log-probabilities along the path, natural log."""
    lm_score: float
    """log p of the language model, unweighted, in the model's own base (KenLM: 10)."""
    score: float
    """The score that the search maximised; `lm.decoding.DecodingWeights` has the formula."""
    entry: int = 0
    """The entry of its context (`lm.search.context`) that it began with."""
    lattice: Lattice | None = field(default=None, compare=False, repr=False)
    """All that the search kept of the utterance, where it was asked for."""

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(word.text for word in self.words)


NOTHING = Hypothesis((), (), (), 0.0, 0.0, 0.0)
"""What any search finds in an utterance without frames."""
