"""Backoff automata looked up on a device, and how they are opened for it.

The batched search uses them. It probes the same file as the compiled search: `lm.ngram.layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lm.language_model import UNK
from lm.ngram.automaton import from_cache
from lm.ngram.layout import EMPTY, FIRST, SECOND, AutomatonArrays, map_automaton


def kept_automaton(arpa: Path, cache: Path) -> tuple[AutomatonArrays, list[str]]:
    """The automaton of an ARPA file, mapped from the folder `cache`, where it is made once.

    Returns it and the warnings, and raises, as `lm.ngram.automaton.open_automaton` does.
    """
    return from_cache(arpa, cache, map_automaton)


def hashed_keys(states: Tensor, words: Tensor) -> Tensor:
    """(P,) int64 states and words -> (P,) int64 hashes, the bits of `lm.ngram.layout.hashed`."""
    key = states << 32 | words
    key = (key ^ _shifted(key, 32)) * _signed(FIRST)
    key = (key ^ _shifted(key, 29)) * _signed(SECOND)
    return key ^ _shifted(key, 32)


def _shifted(key: Tensor, bits: int) -> Tensor:
    """The key shifted right as a number without sign, which int64 is not."""
    return key >> bits & ((1 << 64 - bits) - 1)


def _signed(number: int) -> int:
    """The int64 of the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number


class NgramTensors:
    """An automaton on a device, looked up for many (state, word) pairs at once.

    It has the verbs that the batched search asks of a language model: states are int64 tensors,
    scores float64 log10. Legend: P pairs of a state and a word.
    """

    log_base = 10.0

    def __init__(
        self, automaton: AutomatonArrays, words: Sequence[str], device: torch.device
    ) -> None:
        """words: the word of each index; those that the model lacks score as its <unk>."""
        vocabulary = automaton.vocabulary
        unknown = vocabulary[UNK]
        self._words = torch.tensor(
            [vocabulary.get(word, unknown) for word in words], dtype=torch.int64, device=device
        )
        self._end, self._order, self._probes = vocabulary["</s>"], automaton.order, automaton.probes
        self._start, self._device = automaton.start, device
        self._arcs, self._shorter, self._backoff = (
            torch.from_numpy(part).to(device)
            for part in (automaton.arcs, automaton.shorter, automaton.backoff)
        )

    def begin(self) -> None:
        """Do nothing: no state depends on earlier utterances."""

    def start(self, count: int) -> Tensor:
        """(count,) states at the beginning of a sentence."""
        return torch.full((count,), self._start, dtype=torch.int64, device=self._device)

    def expect(self, states: Tensor) -> None:
        """Do nothing: every score is in the tables already."""

    def score(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) states and words -> (P,) log10 p(word | state), and the (P,) states after them."""
        return self._looked_up(states, self._words[words])

    def finish(self, states: Tensor) -> Tensor:
        """(P,) states -> (P,) log10 p(the sentence ends here)."""
        return self._looked_up(states, torch.full_like(states, self._end))[0]

    def first_scores(self) -> Tensor:
        """(words,) log10 p of each word at the beginning of a sentence."""
        words = torch.arange(len(self._words), device=self._device)
        return self.score(self.start(len(words)), words)[0]

    def _looked_up(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.zeros(len(states), dtype=torch.float32, device=self._device)
        after = torch.zeros_like(states)
        lacking = torch.arange(len(states), device=self._device)
        last = len(self._backoff) - 1  # a damaged file may name states that there are none of
        passed = []  # the weights of backing off, summed last as the compiled search does
        for _ in range(self._order):  # after at most this many steps every pair has its arc
            slots = self._slots(states, words[lacking])
            found = slots >= 0
            arcs = self._arcs[slots[found]]
            scores[lacking[found]] = arcs[:, 3].view(torch.float32)
            after[lacking[found]] = arcs[:, 2].long().clamp_(0, last)
            lacking, states = lacking[~found], states[~found]
            if not len(lacking):
                break
            passed.append((lacking, self._backoff[states]))
            states = self._shorter[states].long().clamp_(0, last)
        for pairs, weights in reversed(passed):
            scores[pairs] += weights
        return scores.double(), after

    def _slots(self, states: Tensor, words: Tensor) -> Tensor:
        """(P,) states and words -> (P,) slots of their arcs, -1 for those that have none."""
        last = len(self._arcs) - 1
        slots, left = torch.full_like(states, -1), torch.arange(len(states), device=self._device)
        at = hashed_keys(states, words) & last
        for _ in range(self._probes):
            arcs = self._arcs[at]
            same = (arcs[:, 0] == states) & (arcs[:, 1] == words)
            slots[left[same]] = at[same]
            on = ~same & (arcs[:, 0] != EMPTY)
            left, at, states, words = left[on], at[on] + 1 & last, states[on], words[on]
            if not len(left):
                break
        return slots
