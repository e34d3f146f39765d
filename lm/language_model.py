"""What a language model answers, for many hypotheses at once: start, score, finish.

N rows are N hypotheses, in any order and from any number of utterances. A search keeps the state of
each, hands it back when the hypothesis grows, and never looks inside: equal states are histories
that the model cannot tell apart. Beside the three verbs a model may have optional ones; each group
of them is a Protocol here, and callers ask `isinstance`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

State = TypeVar("State", bound=Hashable)

UNK = "<unk>"  # the word that stands for all words that a model or a lexicon does not know


class LanguageModelError(ValueError):
    """A language model that cannot be read, or that does not fit its use."""


class LanguageModel(Protocol[State]):
    """p(word | the words before it). A word is given by its index in `words`."""

    @property
    def words(self) -> Sequence[str]:
        """The word of each index."""

    @property
    def log_base(self) -> float:
        """Base of the logarithms in its answers: 10 for n-grams (KenLM's), e for neural models."""

    def start(self, count: int = 1) -> list[State]:
        """States of `count` sentences without any word yet."""

    def score(
        self, states: Sequence[State], words: Sequence[int]
    ) -> tuple[np.ndarray, list[State]]:
        """N states and words -> (N,) float64 log p(word | state), and the N states that follow."""

    def finish(self, states: Sequence[State]) -> np.ndarray:
        """N states -> (N,) float64 log p(the sentence ends here)."""


@runtime_checkable
class Stateful(Protocol):
    """A model that holds something for each state that it gave out."""

    def retain(self, states: Sequence[Any] = ()) -> None:
        """Forget all states but these."""

    def expect(self, states: Sequence[Any]) -> None:
        """Announce the states that words will likely be asked after, in place of earlier ones."""


@runtime_checkable
class Numbered(Protocol):
    """A model whose states are whole numbers from 0 up, and which takes many at once in arrays."""

    def score_numbers(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`score` for (N,) int64 states and words: (N,) float64 scores and (N,) int64 states."""


@runtime_checkable
class Caching(Protocol):
    """A model that keeps what it computed in memory of a limited size."""

    def shortage(self) -> str | None:
        """A sentence where that was too little; once, after that and otherwise None."""


@runtime_checkable
class Lookahead(Protocol):
    """A model that scores all words after a state as cheaply as one."""

    def lookahead(self, states: Sequence[Any]) -> np.ndarray:
        """N states -> (N, words) log p of every word after each."""


@runtime_checkable
class WholeSentences(Protocol):
    """A model with a faster way to score sentences that are known from the start."""

    def score_sentences(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence the (words + 1,) log p of its words and of its end."""


class ZeroLM:
    """No preference: log p = 0 for every word, and one state for all histories."""

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


def index_of(word: str, known: Mapping[str, int]) -> int:
    """Return a word's index among those that a model knows, else that of the unknown word.

    Raises LanguageModelError when the model has neither.
    """
    index = known.get(word, known.get(UNK))
    if index is None:
        raise LanguageModelError(
            f"The language model has no index for the word {word!r}, and none for {UNK}."
        )
    return index
