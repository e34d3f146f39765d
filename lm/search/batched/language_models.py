"""Language models as the batched search asks them: states, words and scores in tensors.

The search holds numbers; here they stand for the states of a model of the three verbs. Every
distinct pair of a state and a word is asked for once in a search. Legend: P pairs, W words.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lm.language_model import UNK, LanguageModel, LanguageModelError, Lookahead, Stateful


@runtime_checkable
class WordTensors(Protocol):
    """The verbs in tensors: int64 states and words of one shape, float64 scores in the base of the
    model."""

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
    """A model of the three verbs, asked for every distinct pair of a state and a word once."""

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
        self._model, self._device = model, device
        # (W,) index of the search -> index of the model
        self._index = np.array(
            [index[word] if word in index else index[UNK] for word in words], np.int64
        )
        self.begin()

    def begin(self) -> None:
        """Forget the states of the last search, here and in a model that keeps them."""
        if isinstance(self._model, Stateful):
            self._model.retain()
        self._expected: tuple[Tensor, Tensor] | None = None
        self._states: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, tuple[float, int]] = {}
        self._ends: dict[int, float] = {}

    def start(self, count: int) -> Tensor:
        """See `WordTensors`."""
        return torch.tensor(
            [self._number(state) for state in self._model.start(count)], device=self._device
        )

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """See `WordTensors`."""
        self._expected = states, wanted

    def score(self, states: Tensor, words: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """See `WordTensors`."""
        count, places = len(self._index), wanted.nonzero(as_tuple=True)
        # (P,) pairs -> (distinct,) keys in Python, each asked for unless it is known
        pairs, inverse = torch.unique(states[places] * count + words[places], return_inverse=True)
        keys: list[int] = pairs.tolist()
        new = [key for key in keys if key not in self._known]
        if new:
            self._pass_on_expected()
            before = [self._states[key // count] for key in new]
            scores, after = self._model.score(before, self._index[np.array(new) % count].tolist())
            numbers = map(self._number, after)
            self._known.update(zip(new, zip(scores.tolist(), numbers, strict=True), strict=True))
        found = np.array([self._known[key] for key in keys], np.float64).reshape(-1, 2)
        table = torch.from_numpy(found).to(self._device)[inverse]
        scored = torch.zeros(states.shape, dtype=torch.float64, device=self._device)
        after_all = states.clone()
        scored[places], after_all[places] = table[:, 0], table[:, 1].long()
        return scored, after_all

    def _pass_on_expected(self) -> None:
        """Announce the beam's states to the model, once a frame and only when it is asked."""
        if isinstance(self._model, Stateful) and self._expected is not None:
            states, wanted = self._expected
            numbers = torch.unique(states[wanted]).tolist()
            self._model.expect([self._states[number] for number in numbers])
        self._expected = None

    def finish(self, states: Tensor, wanted: Tensor) -> Tensor:
        """See `WordTensors`."""
        places = wanted.nonzero(as_tuple=True)
        unique, inverse = torch.unique(states[places], return_inverse=True)
        numbers: list[int] = unique.tolist()
        new = [number for number in numbers if number not in self._ends]
        if new:
            scores = self._model.finish([self._states[number] for number in new])
            self._ends.update(zip(new, scores.tolist(), strict=True))
        ends = torch.tensor([self._ends[number] for number in numbers], dtype=torch.float64)
        finished = torch.zeros(states.shape, dtype=torch.float64, device=self._device)
        finished[places] = ends.to(self._device)[inverse]
        return finished

    def first_scores(self) -> Tensor:
        """See `WordTensors`."""
        if isinstance(self._model, Lookahead):
            scores = self._model.lookahead(self._model.start())[0, self._index]
        else:
            scores, _ = self._model.score(self._model.start(len(self._index)), self._index.tolist())
        return torch.from_numpy(np.asarray(scores, np.float64)).to(self._device)

    def _number(self, state: Hashable) -> int:
        """The number that stands for a state on the device."""
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number
