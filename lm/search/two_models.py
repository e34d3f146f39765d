"""Two language models as one: their scores added up by weight (log-linear interpolation).

    score(word) = log p_first(word) + ratio * log p_second(word)

Each logarithm is in its model's own base. The sum is no log-probability: it is not normalised over
the words, and with a negative ratio it may be above 0. A mixture of probabilities is another thing
(`lm.ngram.revision.mixing`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lm.language_model import UNK, Caching, LanguageModel, Stateful
from lm.search.setup import PROBES, SearchError

MISSING_UNKNOWN = -100  # log10 p of unknown words in a model without <unk>, as in KenLM


class Both(NamedTuple):
    """A state of each model."""

    first: Hashable
    second: Hashable


class TwoModels:
    """The verbs of `LanguageModel` over two models of the same words."""

    def __init__(self, first: LanguageModel[Any], second: LanguageModel[Any], ratio: float) -> None:
        """ratio: the weight of `second` where that of `first` is 1; any finite number."""
        self.first, self.second, self.ratio = first, second, ratio
        self.words, self.log_base = first.words, first.log_base

    @property
    def highest(self) -> float:
        """No word scores above this: 0 for log-probabilities."""
        return 0.0 if self.ratio >= 0 else np.inf

    def start(self, count: int = 1) -> list[Both]:
        """See `LanguageModel`."""
        return list(map(Both, self.first.start(count), self.second.start(count)))

    def score(self, states: Sequence[Both], words: Sequence[int]) -> tuple[np.ndarray, list[Both]]:
        """See `LanguageModel`."""
        scores, after = self.first.score([state.first for state in states], words)
        others, then = self.second.score([state.second for state in states], words)
        return scores + self.ratio * others, list(map(Both, after, then))

    def finish(self, states: Sequence[Both]) -> np.ndarray:
        """See `LanguageModel`."""
        first = self.first.finish([state.first for state in states])
        return first + self.ratio * self.second.finish([state.second for state in states])

    def retain(self, states: Sequence[Both] = ()) -> None:
        """See `Stateful`."""
        if isinstance(self.first, Stateful):
            self.first.retain([state.first for state in states])
        if isinstance(self.second, Stateful):
            self.second.retain([state.second for state in states])

    def expect(self, states: Sequence[Both]) -> None:
        """See `Stateful`."""
        if isinstance(self.first, Stateful):
            self.first.expect([state.first for state in states])
        if isinstance(self.second, Stateful):
            self.second.expect([state.second for state in states])

    def shortage(self) -> str | None:
        """See `Caching`."""
        told = (m.shortage() for m in (self.first, self.second) if isinstance(m, Caching))
        return next((sentence for sentence in told if sentence is not None), None)


class WordsFile(Protocol):
    """A language model file of words: a `ModelFile` that also gives its model."""

    @property
    def path(self) -> Path:
        """See `ModelFile`."""

    @property
    def model(self) -> LanguageModel[Any] | None:
        """The model, once it is open."""

    @property
    def has_unknown(self) -> bool:
        """Whether it gives unknown words a probability of its own."""

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`."""

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`."""


class TwoFiles:
    """Two language model files as one `ModelFile`."""

    def __init__(self, first: WordsFile, second: WordsFile, weight: float) -> None:
        """weight: of `second`."""
        self.first, self.second, self.weight = first, second, weight
        self.path = first.path

    def open(self, words: Sequence[str]) -> list[str]:
        """See `ModelFile`. Raises SearchError for models that cannot score together."""
        warnings = self.first.open(words) + self.second.open(words)
        self._check_case(words)
        if self.weight < 0 and not self.second.has_unknown:
            raise SearchError(
                f"{self.second.path} has no {UNK}: it gives each word that it lacks a log10 "
                f"probability of {MISSING_UNKNOWN}, which the weight {self.weight:g} turns into a "
                f"reward of {MISSING_UNKNOWN * self.weight:g}. Give it a positive weight, or take "
                "a model with one (`w2v2 lm build` writes it)."
            )
        return warnings

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """See `ModelFile`: whether either model has a word."""
        pairs = zip(self.first.knows(words), self.second.knows(words), strict=True)
        return [one or other for one, other in pairs]

    def of(self, ratio: float) -> TwoModels:
        """The opened models; see `TwoModels`."""
        assert self.first.model is not None and self.second.model is not None
        return TwoModels(self.first.model, self.second.model, ratio)

    def _check_case(self, words: Sequence[str]) -> None:
        """Raise SearchError where the words of one model are those of the other in another case."""
        known = [np.asarray(file.knows(words), bool) for file in (self.first, self.second)]
        for file, other, own in (
            (self.first, self.second, known[0] & ~known[1]),
            (self.second, self.first, known[1] & ~known[0]),
        ):
            alone = [words[i] for i in np.flatnonzero(own).tolist() if words[i] != UNK]
            probes = [word.swapcase() for word in sorted(alone, key=len)[:PROBES]]
            seen = [
                probe for probe, is_in in zip(probes, other.knows(probes), strict=True) if is_in
            ]
            if len(seen) * 2 > len(probes):
                raise SearchError(
                    f"{file.path} has {seen[0].swapcase()!r} where {other.path} has {seen[0]!r}: "
                    "bring the language models to one case."
                )
