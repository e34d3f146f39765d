"""What every language model answers, batched: start, score, finish.

N rows are N hypotheses, in any order and from any number of utterances. A search keeps each one's state, hands the
states of those it grows back, and never looks into them: equal states are equal histories as far as the model can tell.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np

State = TypeVar("State", bound=Hashable)


class LanguageModelError(ValueError):
    """A language model that cannot be read, or does not fit what it is used with."""


class LanguageModel(Protocol[State]):
    """p(word | the words before it), for words given by their index in `words`."""

    @property
    def words(self) -> Sequence[str]:
        """The word of each index."""

    @property
    def log_base(self) -> float:
        """Base of the logarithms it answers in: 10 for n-grams (KenLM), e for neural models."""

    def start(self, count: int = 1) -> list[State]:
        """States of `count` sentences in which nothing has been said."""

    def score(
        self, states: Sequence[State], words: Sequence[int]
    ) -> tuple[np.ndarray, list[State]]:
        """N states and N words -> (N,) float64 log p(word | state), and the N states after them."""

    def finish(self, states: Sequence[State]) -> np.ndarray:
        """N states -> (N,) float64 log p(the sentence ends here)."""


class ZeroLM:
    """Every word is as good as any other: log p = 0, and one state for all histories."""

    log_base = math.e

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = words

    def start(self, count: int = 1) -> list[tuple[()]]:
        """See `LanguageModel`."""
        return [()] * count

    def score(
        self, states: Sequence[tuple[()]], words: Sequence[int]
    ) -> tuple[np.ndarray, list[tuple[()]]]:
        """See `LanguageModel`."""
        return np.zeros(len(words)), list(states)

    def finish(self, states: Sequence[tuple[()]]) -> np.ndarray:
        """See `LanguageModel`."""
        return np.zeros(len(states))
