"""What is known of the words so far, as one number: of the language model and of the phrases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lm.search.batched.language_models import AskedTensors, WordTensors
from lm.search.phrases import PhraseAutomaton
from lm.search.setup import SearchSetup

BITS = 32  # of the language model's state; those above are the phrases' node
OF_MODEL = (1 << BITS) - 1


class Said(NamedTuple):
    """What words add to the scores, and where they lead."""

    language: Tensor
    """float64 log p by the language model."""
    bonus: Tensor | None
    """float64 by hot words and phrases; None without any."""
    after: Tensor
    """int64 states."""


class WordStates:
    """A language model, hot words and phrases, asked together."""

    def __init__(self, lm: WordTensors, setup: SearchSetup, device: torch.device) -> None:
        """lm: over the set-up's words. Raises SearchError for phrases too many for tables."""
        self.lm, self._bonuses, self._tables = lm, None, None
        floors = setup.floors
        self._floors = None
        """(words,) float64 in the base of the model."""
        if floors is not None:
            self._floors = torch.from_numpy(floors).to(device) * (
                math.log(10) / math.log(lm.log_base)
            )
        self.highest = 0.0
        """No word adds more to the score, by the model and by what is favoured."""
        if setup.phrases:
            automaton = PhraseAutomaton.of(setup)
            tables = automaton.tables(len(setup.words))
            self.highest = automaton.most
            self._columns = tables.after.shape[1]
            self._tables = _Tables(
                *(
                    torch.from_numpy(table).to(device)
                    for table in (
                        tables.column,
                        tables.after.ravel() << BITS,
                        tables.bonus.ravel(),
                        tables.end,
                    )
                )
            )
        elif setup.hotwords:
            self._bonuses = torch.from_numpy(setup.bonuses).to(device)
            self.highest = max(0.0, float(setup.bonuses.max()))
        self.highest += lm.highest if isinstance(lm, AskedTensors) else 0.0

    @property
    def has_phrases(self) -> bool:
        """Whether states hold a node of phrases."""
        return self._tables is not None

    def start(self, count: int) -> Tensor:
        """(count,) states of sentences without any word yet."""
        return self.lm.start(count)

    def expect(self, states: Tensor, wanted: Tensor) -> None:
        """See `WordTensors`."""
        self.lm.expect(self._of_model(states), wanted)

    def first_scores(self) -> Tensor:
        """(words,) log p of each word at the beginning of a sentence."""
        scores = self.lm.first_scores()
        return scores if self._floors is None else torch.maximum(scores, self._floors)

    def said(self, states: Tensor, words: Tensor, wanted: Tensor) -> Said:
        """What words add after states, of one shape; anything where not `wanted`."""
        language, after = self.lm.score(self._of_model(states), words, wanted)
        if self._floors is not None:
            language = torch.maximum(language, self._floors[words])
        if self._tables is None:
            return Said(language, None if self._bonuses is None else self._bonuses[words], after)
        entry = (states >> BITS) * self._columns + self._tables.column[words]
        return Said(language, self._tables.bonus[entry], self._tables.after[entry] | after)

    def ended(self, states: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the end of a sentence adds: by the language model, and by phrases."""
        language = self.lm.finish(self._of_model(states), wanted)
        return language, None if self._tables is None else self._tables.end[states >> BITS]

    def before(self, index: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        """(B,) states after the words of each sentence."""
        state = self.start(len(index)).clone()
        for place in range(max(map(len, index))):
            longer = [i for i, words in enumerate(index) if place < len(words)]
            rows = torch.tensor(longer, device=device)
            words = torch.tensor([index[i][place] for i in longer], device=device)
            state[rows] = self.said(state[rows], words, torch.ones_like(rows).bool()).after
        return state

    def _of_model(self, states: Tensor) -> Tensor:
        return states if self._tables is None else states & OF_MODEL


class _Tables(NamedTuple):
    """Those of `PhraseTables`, row after row; nodes stand where states hold them."""

    column: Tensor
    after: Tensor
    bonus: Tensor
    end: Tensor
