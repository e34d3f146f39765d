"""Backoff automata looked up on a device, and how they are opened for it.

The batched search uses them. It probes the same file as the compiled search: `lm.ngram.layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lm.kernels.choice import for_ngrams
from lm.language_model import UNK
from lm.ngram.automaton import from_cache
from lm.ngram.layout import FIRST, LONGEST, SECOND, AutomatonArrays, map_automaton

TOGETHER = 16  # slots of a pair that are looked at together


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
    scores float64 log10. A pair looks at all slots that its arc may be in, for each state that it
    may back off to: a fixed sequence of operations. Here they are done for the wanted pairs alone,
    and the device is asked how many these are. Legend: P pairs of a state and a word, O words in
    the longest n-gram, S slots that are looked at together.
    """

    log_base = 10.0
    fixed = False

    def __init__(
        self, automaton: AutomatonArrays, words: Sequence[str], device: torch.device
    ) -> None:
        """words: the word of each index; those that the model lacks score as its <unk>."""
        vocabulary = automaton.vocabulary
        unknown = vocabulary[UNK]
        self._words = torch.tensor(
            [vocabulary.get(word, unknown) for word in words], dtype=torch.int64, device=device
        )
        self._end, self._probes = vocabulary["</s>"], automaton.probes
        self._order = min(automaton.order, LONGEST)  # a damaged file may say anything
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

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """Do nothing: every score is in the tables already."""

    def score(
        self, states: Tensor, words: Tensor, wanted: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """States and words of one shape -> log10 p(word | state), and the states after them.

        wanted: a mask; the answers elsewhere are of no use. None wants all.
        """
        return self._answers(states, self._words[words], wanted)

    def finish(self, states: Tensor, wanted: Tensor | None = None) -> Tensor:
        """States -> log10 p(the sentence ends here); `wanted` as in `score`."""
        return self._answers(states, torch.full_like(states, self._end), wanted)[0]

    def first_scores(self) -> Tensor:
        """(words,) log10 p of each word at the beginning of a sentence."""
        words = torch.arange(len(self._words), device=self._device)
        return self.score(self.start(len(words)), words)[0]

    def _answers(
        self, states: Tensor, words: Tensor, wanted: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if wanted is None:
            return self._looked_up(states, words)
        places = wanted.nonzero(as_tuple=True)
        scores = torch.zeros(states.shape, dtype=torch.float64, device=self._device)
        after = torch.zeros_like(states)
        scores[places], after[places] = self._looked_up(states[places], words[places])
        return scores, after

    def _looked_up(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(...) states and words of the model -> as `score`."""
        last = len(self._backoff) - 1  # a damaged file may name states that there are none of
        chain = [states]
        for _ in range(self._order - 1):
            chain.append(self._shorter[chain[-1]].long().clamp_(0, last))
        passed = torch.stack(chain)  # (O, ...)
        slots = self._found(passed, words.expand_as(passed))
        # The first state that has an arc, from the longest context to the empty one.
        level = (slots >= 0).int().argmax(0, keepdim=True)
        arcs = self._arcs[slots.gather(0, level)[0]]
        scores = arcs[..., 3].view(torch.float32)
        weights = self._backoff[passed]
        for before in range(self._order - 2, -1, -1):  # summed as the compiled search does
            scores = scores + torch.where(level[0] > before, weights[before], 0.0)
        return scores.double(), arcs[..., 2].long().clamp_(0, last)

    def _found(self, states: Tensor, words: Tensor) -> Tensor:
        """The slots of arcs, -1 for those that there are none of."""
        keys = self._arcs.view(torch.int64)[:, 0]  # state and word of each slot as one number
        key = (words << 32 | states)[..., None]
        last = len(self._arcs) - 1
        home = hashed_keys(states, words)[..., None]
        slots = torch.full_like(states, -1)
        for first in range(0, self._probes, TOGETHER):
            steps = torch.arange(first, min(first + TOGETHER, self._probes), device=self._device)
            at = home + steps & last  # (..., S)
            slots = torch.maximum(slots, torch.where(keys[at] == key, at, -1).amax(-1))
        return slots


class FixedNgramTensors(NgramTensors):
    """The same, which looks every pair up, wanted or not: a GPU can record and replay that."""

    fixed = True

    def _answers(
        self, states: Tensor, words: Tensor, wanted: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        kernels = for_ngrams(self._device)
        if kernels is None:
            return self._looked_up(states, words)
        tables = self._arcs, self._shorter, self._backoff
        found: tuple[Tensor, Tensor] = kernels.look_up(
            states, words, *tables, self._order, self._probes
        )
        return found
