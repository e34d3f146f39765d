"""An n-gram as a backoff automaton in flat arrays, looked up for many (state, word) pairs at once.

A state is the longest context that can still matter: an n-gram that others go on from, or that has a backoff weight. Of
two contexts that no word tells apart only the shorter is one, as in KenLM (Heafield, 2011, §4.1). Legend: S states,
A arcs sorted by state · vocabulary + word, V words of the model, P pairs of a state and a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.ngram.arpa import read_ngrams
from lm.ngram.kenlm import check_file

ROOT = 0  # the empty context
MISSING_UNK = -100.0  # log10 p(<unk>) of a model without it, as KenLM has it


@dataclass(frozen=True)
class BackoffAutomaton:
    """log10 p(word | state) is that of the arc; without one, the backoff of the state and then what its shorter one says."""

    vocabulary: dict[str, int]
    """Number of each word; <unk> is among them."""
    order: int
    start: int
    """The state after <s>."""
    keys: np.ndarray
    """(A,) int64 state · V + word, rising."""
    scores: np.ndarray
    """(A,) float32 log10 probability."""
    targets: np.ndarray
    """(A,) int64 state after the arc."""
    shorter: np.ndarray
    """(S,) int64 state to back off to."""
    backoff: np.ndarray
    """(S,) float32 log10 weight of backing off."""


def read_automaton(path: Path) -> BackoffAutomaton:
    """The automaton of an ARPA file, gzip or not. LanguageModelError where there is none."""
    check_file(path)
    vocabulary: dict[str, int] = {}
    grams: list[list[tuple[int, ...]]] = []
    numbers: list[list[tuple[float, float]]] = []
    try:
        for log_prob, words, backoff in read_ngrams(path):
            if len(words) > len(grams):
                grams.append([])
                numbers.append([])
            if len(words) == 1:
                word = "<unk>" if words[0] == "<UNK>" else words[0]
                grams[0].append((vocabulary.setdefault(word, len(vocabulary)),))
            else:
                grams[len(words) - 1].append(tuple([vocabulary[word] for word in words]))
            numbers[len(words) - 1].append((log_prob, backoff))
    except KeyError as error:
        raise LanguageModelError(
            f"{path} has an n-gram of {error.args[0]!r}, which is not among its words."
        ) from None
    except ValueError as error:
        raise LanguageModelError(str(error)) from None
    if "<unk>" not in vocabulary:
        grams[0].append((vocabulary.setdefault("<unk>", len(vocabulary)),))
        numbers[0].append((MISSING_UNK, 0.0))
    for special in ("<s>", "</s>"):
        if special not in vocabulary:
            raise LanguageModelError(
                f"{path} has no {special} among its words: it is no model of sentences."
            )
    return _Builder(vocabulary, [np.array(rows, np.int64) for rows in grams], numbers).automaton()


class _Builder:
    """Every n-gram becomes a node of a trie of contexts; the nodes that are states are told apart at the end."""

    def __init__(
        self,
        vocabulary: dict[str, int],
        grams: list[np.ndarray],
        numbers: list[list[tuple[float, float]]],
    ) -> None:
        self.vocabulary, self.order = vocabulary, len(grams)
        self.keys = np.zeros(0, np.int64)
        self.nodes = np.zeros(0, np.int64)
        self.log_prob, self.backoff = np.zeros(1, np.float32), np.zeros(1, np.float32)
        self.suffix, self.longest = np.zeros(1, np.int64), np.zeros(1, np.int64)
        levels = [np.zeros(1, np.int64)]
        for words, values in zip(grams, numbers, strict=True):
            levels.append(self._add(words, np.array(values, np.float32).reshape(-1, 2)))
        self._find_states(levels)

    def automaton(self) -> BackoffAutomaton:
        start = int(
            self.longest[self._child(np.zeros(1, np.int64), np.array([self.vocabulary["<s>"]]))[0]]
        )
        return BackoffAutomaton(
            self.vocabulary,
            self.order,
            start,
            self.keys,
            self.log_prob[self.nodes],
            self.longest[self.nodes],
            self.longest[self.suffix],
            self.backoff,
        )

    def _add(self, words: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """(M, n) n-grams whose contexts are there -> (M,) their nodes."""
        contexts = self._descend(words[:, :-1])
        if (contexts < 0).any():
            names = list(self.vocabulary)
            gram = " ".join(names[word] for word in words[int(np.argmin(contexts))])
            raise LanguageModelError(
                f"The n-gram {gram!r} goes on from one that the model leaves out: it is damaged."
            )
        nodes = len(self.log_prob) + np.arange(len(words))
        suffixes = (
            self._longest_child(self.suffix[contexts], words[:, -1])
            if words.shape[1] > 1
            else 0 * nodes
        )
        self.log_prob = np.concatenate([self.log_prob, scores[:, 0]])
        self.backoff = np.concatenate([self.backoff, scores[:, 1]])
        self.suffix = np.concatenate([self.suffix, suffixes])
        keys = np.concatenate([self.keys, contexts * len(self.vocabulary) + words[:, -1]])
        order = np.argsort(keys)
        self.keys, self.nodes = keys[order], np.concatenate([self.nodes, nodes])[order]
        return nodes

    def _child(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The node of each context with a word after it, -1 where there is none."""
        wanted = contexts * len(self.vocabulary) + words
        at = np.minimum(np.searchsorted(self.keys, wanted), max(0, len(self.keys) - 1))
        return np.where(self.keys[at] == wanted, self.nodes[at], -1)

    def _descend(self, words: np.ndarray) -> np.ndarray:
        contexts = np.zeros(len(words), np.int64)
        for column in words.T:
            contexts = np.where(contexts < 0, -1, self._child(contexts, column))
        return contexts

    def _longest_child(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The node of the longest suffix of each context that goes on with the word."""
        found = self._child(contexts, words)
        while (lacking := (found < 0)).any():
            contexts = np.where(lacking, self.suffix[contexts], contexts)
            found[lacking] = self._child(contexts[lacking], words[lacking])
        return found

    def _find_states(self, levels: list[np.ndarray]) -> None:
        self.longest = np.arange(len(self.log_prob))
        goes_on = np.zeros(len(self.log_prob), bool)
        goes_on[self.keys // len(self.vocabulary)] = True
        idle = ~goes_on & (self.backoff == 0)
        idle[levels[-1]] = True
        idle[ROOT] = False
        for nodes in levels[1:]:
            drop = nodes[idle[nodes]]
            self.longest[drop] = self.longest[self.suffix[drop]]


class NgramTensors:
    """An automaton on a device, behind the three verbs in tensors: states are int64, scores float64 log10."""

    log_base = 10.0

    def __init__(
        self, automaton: BackoffAutomaton, words: Sequence[str], device: torch.device
    ) -> None:
        """words: what indices stand for; those that the model lacks are its <unk>."""
        vocabulary = automaton.vocabulary
        unknown = vocabulary["<unk>"]
        self._words = torch.tensor(
            [vocabulary.get(word, unknown) for word in words], dtype=torch.int64, device=device
        )
        self._end, self._size, self._order = vocabulary["</s>"], len(vocabulary), automaton.order
        self._start, self._device = automaton.start, device
        self._keys, self._scores, self._targets, self._shorter, self._backoff = (
            torch.from_numpy(array).to(device)
            for array in (
                automaton.keys,
                automaton.scores,
                automaton.targets,
                automaton.shorter,
                automaton.backoff,
            )
        )

    def begin(self) -> None:
        """Nothing to forget."""

    def start(self, count: int) -> Tensor:
        """(count,) states of sentences in which nothing has been said."""
        return torch.full((count,), self._start, dtype=torch.int64, device=self._device)

    def expect(self, states: Tensor) -> None:
        """Whatever comes, it is in the tables already."""

    def score(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) states and words -> (P,) log10 p(word | state), and the states after them."""
        return self._looked_up(states, self._words[words])

    def finish(self, states: Tensor) -> Tensor:
        """(P,) states -> (P,) log10 p(the sentence ends here)."""
        return self._looked_up(states, torch.full_like(states, self._end))[0]

    def first_scores(self) -> Tensor:
        """log10 p of each word at the beginning of a sentence."""
        words = torch.arange(len(self._words), device=self._device)
        return self.score(self.start(len(words)), words)[0]

    def _looked_up(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(states), dtype=torch.float32, device=self._device)
        arcs = torch.zeros_like(states)
        lacking = torch.ones_like(states, dtype=torch.bool)
        for _ in range(self._order):
            wanted = states * self._size + words
            at = torch.searchsorted(self._keys, wanted).clamp_(max=len(self._keys) - 1)
            found = lacking & (self._keys[at] == wanted)
            arcs = torch.where(found, at, arcs)
            lacking = lacking & ~found
            total = torch.where(lacking, total + self._backoff[states], total)
            states = torch.where(lacking, self._shorter[states], states)
        return (total + self._scores[arcs]).double(), self._targets[arcs]
