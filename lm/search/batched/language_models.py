"""Language models as the batched search asks them: states, words and scores in tensors.

The search holds numbers, which are the states of a model or stand for them. Legend: W words.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lm.language_model import (
    UNK,
    LanguageModel,
    LanguageModelError,
    Lookahead,
    Numbered,
    Stateful,
)
from lm.search.two_models import TwoModels


@runtime_checkable
class WordTensors(Protocol):
    """The verbs in tensors: int64 states and words of one shape, float64 scores in the base of the
    model."""

    log_base: float
    """As of a `LanguageModel`."""
    fixed: bool
    """Whether the verbs are operations on the device alone, in shapes that no data decide."""

    def begin(self) -> None:
        """Forget the states of the last search."""

    def start(self, count: int) -> Tensor:
        """(count,) states of sentences without any word yet."""

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """Announce the states that words will likely be asked after: those `wanted` of a beam."""

    def score(self, states: Tensor, words: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """log p(word | state), and the states that follow; anything where not `wanted`."""

    def finish(self, states: Tensor, wanted: Tensor) -> Tensor:
        """log p(the sentence ends here); anything where not `wanted`."""

    def first_scores(self) -> Tensor:
        """(W,) log p of each word at the beginning of a sentence."""


class NoTensors:
    """No language model: log p = 0."""

    log_base = math.e
    fixed = True

    def __init__(self, words: int, device: torch.device) -> None:
        self._words, self._device = words, device

    def begin(self) -> None:
        """Nothing to forget."""

    def start(self, count: int) -> Tensor:
        """See `WordTensors`."""
        return torch.zeros(count, dtype=torch.int64, device=self._device)

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """Nothing to prepare."""

    def score(self, states: Tensor, words: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """See `WordTensors`."""
        return self.finish(states, wanted), states

    def finish(self, states: Tensor, wanted: Tensor) -> Tensor:
        """See `WordTensors`."""
        return torch.zeros(states.shape, dtype=torch.float64, device=self._device)

    def first_scores(self) -> Tensor:
        """See `WordTensors`."""
        return torch.zeros(self._words, dtype=torch.float64, device=self._device)


class AskedTensors:
    """A model of the three verbs, asked for the distinct pairs of a state and a word of a frame.

    The device finds the distinct pairs, whole numbers; those alone travel to the model and back.
    """

    fixed = False

    def __init__(
        self, model: LanguageModel[Any], words: Sequence[str], device: torch.device
    ) -> None:
        """Wrap `model` for a search over `words`.

        Raises LanguageModelError when the model has no index for some of them and none for <unk>.
        """
        index = {word: i for i, word in enumerate(model.words)}
        lacking = [word for word in words if word not in index]
        if lacking and UNK not in index:
            raise LanguageModelError(
                f"The language model has no index for {len(lacking)} of the words searched, "
                f"{lacking[0]!r} for example, and none for {UNK}: give it the lexicon's words."
            )
        self._model, self._device, self.log_base = model, device, model.log_base
        self.highest = model.highest if isinstance(model, TwoModels) else 0.0
        """No word scores above this."""
        self._numbered = model if isinstance(model, Numbered) else _NumberedStates(model)
        # (W,) index of the search -> index of the model
        self._index = np.array(
            [index[word] if word in index else index[UNK] for word in words], np.int64
        )
        self.begin()

    def begin(self) -> None:
        """Forget the states of the last search, here and in a model that keeps them."""
        if isinstance(self._model, Stateful):
            self._model.retain()
        if isinstance(self._numbered, _NumberedStates):
            self._numbered.forget()
        self._expected: tuple[Tensor, Tensor] | None = None

    def start(self, count: int) -> Tensor:
        """See `WordTensors`."""
        return torch.tensor(self._numbered.start(count), device=self._device)

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """See `WordTensors`."""
        self._expected = states, wanted

    def score(self, states: Tensor, words: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """See `WordTensors`."""
        count, places = len(self._index), wanted.nonzero(as_tuple=True)
        pairs, inverse = torch.unique(states[places] * count + words[places], return_inverse=True)
        scores, after = np.zeros(0), np.zeros(0, np.int64)
        if len(pairs):
            self._pass_on_expected()
            before, said = np.divmod(pairs.cpu().numpy(), count)
            scores, after = self._numbered.score_numbers(before, self._index[said])
        scored = torch.zeros(states.shape, dtype=torch.float64, device=self._device)
        scored[places] = torch.from_numpy(scores).to(self._device)[inverse]
        after_all = states.clone()
        after_all[places] = torch.from_numpy(after).to(self._device)[inverse]
        return scored, after_all

    def _pass_on_expected(self) -> None:
        """Announce the beam's states to the model, once a frame and only when it is asked."""
        if isinstance(self._numbered, Stateful) and self._expected is not None:
            states, wanted = self._expected
            self._numbered.expect(torch.unique(states[wanted]).tolist())
        self._expected = None

    def finish(self, states: Tensor, wanted: Tensor) -> Tensor:
        """See `WordTensors`."""
        places = wanted.nonzero(as_tuple=True)
        unique, inverse = torch.unique(states[places], return_inverse=True)
        ends = np.asarray(self._numbered.finish(unique.tolist()), np.float64)
        finished = torch.zeros(states.shape, dtype=torch.float64, device=self._device)
        finished[places] = torch.from_numpy(ends).to(self._device)[inverse]
        return finished

    def first_scores(self) -> Tensor:
        """See `WordTensors`."""
        if isinstance(self._model, Lookahead):
            scores = self._model.lookahead(self._model.start())[0, self._index]
        else:
            scores, _ = self._model.score(self._model.start(len(self._index)), self._index.tolist())
        return torch.from_numpy(np.asarray(scores, np.float64)).to(self._device)


class _NumberedStates:
    """Numbers that stand for the states of a model, which is asked for every pair once."""

    def __init__(self, model: LanguageModel[Any]) -> None:
        self._model = model
        self.forget()

    def forget(self) -> None:
        """Forget all states and what was asked."""
        self._states: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[tuple[int, int], tuple[float, int]] = {}

    def start(self, count: int) -> list[int]:
        """See `LanguageModel`."""
        return [self._number(state) for state in self._model.start(count)]

    def expect(self, states: Sequence[int]) -> None:
        """See `Stateful`."""
        if isinstance(self._model, Stateful):
            self._model.expect([self._states[number] for number in states])

    def retain(self, states: Sequence[int] = ()) -> None:
        """See `Stateful`; here all are forgotten."""
        self.forget()

    def score_numbers(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Numbered`."""
        pairs = list(zip(states.tolist(), words.tolist(), strict=True))
        new = [pair for pair in pairs if pair not in self._known]
        if new:
            before, said = [self._states[state] for state, _ in new], [word for _, word in new]
            scores, after = self._model.score(before, said)
            numbers = map(self._number, after)
            self._known.update(zip(new, zip(scores.tolist(), numbers, strict=True), strict=True))
        known = [self._known[pair] for pair in pairs]
        return np.array([score for score, _ in known]), np.array([after for _, after in known])

    def finish(self, states: Sequence[int]) -> np.ndarray:
        """See `LanguageModel`."""
        return self._model.finish([self._states[number] for number in states])

    def _number(self, state: Hashable) -> int:
        """The number that stands for a state on the device."""
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number
