"""Lattices scored again with another language model: exact composition.

score = acoustic + lm_weight * LM + word_score * words + first_pass_weight * LM of the search
      + what else the search added (hot words, unknown words, boundary frames)

A node of a lattice becomes a node for each state that the model can be in there, so that every path
has the score of its own words. An n-gram has few states. Those of a Transformer are all histories:
with `context`, histories that end with as many same words are one, and the best of them goes on
(Liu et al. 2014, "Efficient lattice rescoring using recurrent neural network language models").

All lattices go through the model together. The nodes that as many words lead to at most make a
layer; layer by layer the model is asked once for every different pair of a state and a word.

Legend: N nodes, A arcs, W words of all lattices; X expanded arcs of a layer; T tokens, the nodes of
the new lattices.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lm.decoding import DecodingWeights
from lm.language_model import LanguageModel, index_of
from lm.lattice import Lattice


@dataclass(frozen=True)
class SecondPass:
    """How arcs are weighed anew."""

    first: DecodingWeights
    """The weights that the lattices were searched with."""
    weights: DecodingWeights
    """Those that count now."""
    first_pass_weight: float = 0.0
    """Of the search's own language model."""
    context: int | None = None
    """Words by which histories are told apart; None: by the model's states."""


class _States:
    """States as numbers, and what the model answered for them, asked once."""

    def __init__(self, lm: LanguageModel[Any]) -> None:
        self._lm = lm
        self._states: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[tuple[int, int], tuple[float, int]] = {}

    def start(self) -> int:
        """The state of a sentence without any word yet."""
        return self._number(self._lm.start()[0])

    def score(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(X,) states and words -> (X,) log p and the (X,) states that follow."""
        pairs, inverse = np.unique(np.stack([states, words]), axis=1, return_inverse=True)
        asked = list(map(tuple, pairs.T.tolist()))
        new = [pair for pair in asked if pair not in self._known]
        if new:
            scores, after = self._lm.score(
                [self._states[state] for state, _ in new], [word for _, word in new]
            )
            found = zip(scores.tolist(), map(self._number, after), strict=True)
            self._known.update(zip(new, found, strict=True))
        answers = [self._known[pair] for pair in asked]
        inverse = inverse.reshape(-1)
        return (
            np.array([score for score, _ in answers], np.float64)[inverse],
            np.array([state for _, state in answers], np.int64)[inverse],
        )

    def finish(self, states: np.ndarray) -> np.ndarray:
        """(X,) states -> (X,) log p of the sentence's end."""
        unique, inverse = np.unique(states, return_inverse=True)
        ends = self._lm.finish([self._states[state] for state in unique.tolist()])
        return np.asarray(ends, np.float64)[inverse.reshape(-1)]

    def _number(self, state: Hashable) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number


class _Histories:
    """The last words of a history as a number."""

    def __init__(self, context: int) -> None:
        self._context = context
        self._numbers: dict[tuple[int, ...], int] = {(): 0}
        self._words: list[tuple[int, ...]] = [()]

    def after(self, histories: np.ndarray, words: np.ndarray) -> np.ndarray:
        """(X,) histories and words -> (X,) the histories that follow."""
        found = []
        for history, word in zip(histories.tolist(), words.tolist(), strict=True):
            said = (*self._words[history], word)[-self._context :] if self._context else ()
            number = self._numbers.setdefault(said, len(self._words))
            if number == len(self._words):
                self._words.append(said)
            found.append(number)
        return np.array(found, np.int64)


class _All(NamedTuple):
    """The arcs of all lattices; nodes are counted on from lattice to lattice."""

    starts: np.ndarray
    """(A,) int64"""
    ends: np.ndarray
    """(A,) int64, ascending"""
    words: np.ndarray
    """(A,) int64, the model's index of the word; -1 for none"""
    plain: np.ndarray
    """(A,) float64, the new score without that of the model"""
    last: np.ndarray
    """(N,) bool, whether a node is its lattice's end"""
    firsts: np.ndarray
    """(number of lattices + 1,) the first node of each"""


class _Tokens:
    """Nodes of the new lattices as they are found, and the arcs between them."""

    def __init__(self, nodes: int) -> None:
        self.first, self.count = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
        self.node: list[np.ndarray] = []
        self.state: list[np.ndarray] = []
        self.history: list[np.ndarray] = []
        self.best: list[np.ndarray] = []
        self.arcs: list[tuple[np.ndarray, ...]] = []
        self.total = 0

    def add(self, nodes: np.ndarray, states: np.ndarray, *others: np.ndarray) -> None:
        """Add tokens, ordered by node. others: their histories and best scores."""
        unique, first, count = np.unique(nodes, return_index=True, return_counts=True)
        self.first[unique], self.count[unique] = self.total + first, count
        for kept, values in zip(
            (self.node, self.state, self.history, self.best),
            (nodes, states, *others),
            strict=True,
        ):
            kept.append(values)
        self.total += len(nodes)


def rescored(lattices: Sequence[Lattice], lm: LanguageModel[Any], how: SecondPass) -> list[Lattice]:
    """The lattices with the scores of `lm`, their nodes told apart by its states.

    Without `how.context` the paths are those of the lattices, each with its exact new score, in the
    base of `lm`; with it, words that follow merged histories have the score after the best of them.
    A path ends a sentence. Raises LanguageModelError when `lm` has no index for a word and none for
    <unk>.
    """
    every = _joined(lattices, lm, how)
    states, tokens = _States(lm), _Tokens(len(every.last))
    history = None if how.context is None else _Histories(how.context)
    begins = every.firsts[:-1]
    zeros = np.zeros(len(begins), np.int64)
    tokens.add(begins, zeros + states.start(), zeros, np.zeros(len(begins)))
    for arcs in _layers(every):
        _expand(arcs, every, states, history, tokens, how)
    return _built(lattices, every, tokens, how.weights.lm_weight)


def _joined(lattices: Sequence[Lattice], lm: LanguageModel[Any], how: SecondPass) -> _All:
    firsts = np.cumsum([0, *(len(lattice.times) for lattice in lattices)])
    known = {word: i for i, word in enumerate(lm.words)}
    starts, ends, words = ([np.zeros(0, np.int64)] for _ in range(3))
    plain = [np.zeros(0)]
    for first, lattice in zip(firsts.tolist(), lattices, strict=False):
        starts.append(first + lattice.starts.astype(np.int64))
        ends.append(first + lattice.ends.astype(np.int64))
        index = [index_of(word, known) for word in lattice.words]
        words.append(np.array([*index, -1], np.int64)[lattice.labels])
        plain.append(_plain(lattice, how))
    last = np.zeros(firsts[-1], bool)
    last[firsts[1:] - 1] = True
    return _All(
        np.concatenate(starts),
        np.concatenate(ends),
        np.concatenate(words),
        np.concatenate(plain),
        last,
        firsts,
    )


def _plain(lattice: Lattice, how: SecondPass) -> np.ndarray:
    """(A,) what arcs add to the new score beside the new language model."""
    said = lattice.labels >= 0
    changed = how.first_pass_weight - how.first.lm_weight
    change = np.where(said, how.weights.word_score - how.first.word_score, 0.0)
    return np.asarray(lattice.scores + changed * lattice.lm + change, np.float64)


def _layers(every: _All) -> Iterator[np.ndarray]:
    """The arcs of each layer: those into nodes that as many arcs lead to at most."""
    depth = [0] * len(every.last)
    for start, end in zip(every.starts.tolist(), every.ends.tolist(), strict=True):
        depth[end] = max(depth[end], depth[start] + 1)
    of_arcs = np.array(depth, np.int64)[every.ends]
    order = np.argsort(of_arcs, kind="stable")
    edges = np.flatnonzero(np.diff(of_arcs[order])) + 1
    yield from (arcs for arcs in np.split(order, edges) if len(arcs))


def _expand(
    arcs: np.ndarray,
    every: _All,
    states: _States,
    history: _Histories | None,
    tokens: _Tokens,
    how: SecondPass,
) -> None:
    """Bring the tokens of the nodes that `arcs` leave to those that they lead to."""
    node, state, said, best = (
        np.concatenate(kept) for kept in (tokens.node, tokens.state, tokens.history, tokens.best)
    )
    counts = tokens.count[every.starts[arcs]]
    arc = np.repeat(arcs, counts)  # (X,)
    within = np.arange(len(arc)) - np.repeat(np.cumsum(counts) - counts, counts)
    token = tokens.first[every.starts[arc]] + within
    word, end = every.words[arc], every.ends[arc]
    heard, after, then = np.zeros(len(arc)), state[token], said[token]
    spoken = word >= 0
    if spoken.any():
        heard[spoken], after[spoken] = states.score(after[spoken], word[spoken])
        if history is not None:
            then[spoken] = history.after(then[spoken], word[spoken])
    ended = every.last[end]
    if ended.any():
        heard[ended] += states.finish(after[ended])
        after[ended] = then[ended] = 0
    score = best[token] + every.plain[arc] + how.weights.lm_weight * heard
    key = after if history is None else then
    # Of arcs into one new node the best comes first: its state is the one that goes on.
    order = np.lexsort((-score, key, end))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(end[order]) != 0) | (np.diff(key[order]) != 0)
    leads_to = np.empty(len(order), np.int64)
    leads_to[order] = tokens.total + np.cumsum(new) - 1
    chosen = order[new]
    tokens.arcs.append((arc, token, leads_to, heard))
    tokens.add(end[chosen], after[chosen], then[chosen], score[chosen])


def _built(
    lattices: Sequence[Lattice], every: _All, tokens: _Tokens, lm_weight: float
) -> list[Lattice]:
    """The new lattices of the tokens and arcs that were found."""
    if not tokens.arcs:
        return list(lattices)
    node = np.concatenate(tokens.node)  # (T,)
    order = np.argsort(node, kind="stable")
    place = np.empty(len(node), np.int64)
    place[order] = np.arange(len(node))
    columns = (np.concatenate(column) for column in zip(*tokens.arcs, strict=True))
    arc, start, end, heard = columns
    start, end = place[start], place[end]
    by_end = np.argsort(end, kind="stable")
    arc, start, end, heard = arc[by_end], start[by_end], end[by_end], heard[by_end]
    first_arcs = np.cumsum([0, *(len(lattice.labels) for lattice in lattices)])
    made = []
    for i, lattice in enumerate(lattices):
        nodes = node[order]
        begin, stop = np.searchsorted(nodes, every.firsts[i : i + 2])
        from_arc, to_arc = np.searchsorted(end, (begin, stop))
        mine = slice(from_arc, to_arc)
        old = arc[mine] - first_arcs[i]
        if not len(lattice.labels):
            made.append(lattice)
            continue
        made.append(
            replace(
                lattice,
                times=lattice.times[nodes[begin:stop] - every.firsts[i]],
                starts=(start[mine] - begin).astype(np.uint32),
                ends=(end[mine] - begin).astype(np.uint32),
                labels=lattice.labels[old],
                scores=every.plain[arc[mine]] + lm_weight * heard[mine],
                acoustic=lattice.acoustic[old],
                lm=heard[mine],
            )
        )
    return made
