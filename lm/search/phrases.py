"""Phrases whose words are favoured: an automaton over words (Aho and Corasick, 1975).

A node is the longest beginning of a phrase that the words so far end with; node 0 is none. A
phrase's bonus counts when its last word is said. Before that a part of it is promised, so that a
beam keeps the beginning; what was promised is taken back when the phrase does not go on. So the
bonuses of any words add up to those of the phrases in them.

The compiled search has its own: lm/native/phrases.h. Legend: N nodes, C columns, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm.search.setup import SearchError, SearchSetup

MEMORY = 1 << 30  # bytes that the tables of phrases may take
ENTRY = 16  # bytes of a word after a node


@dataclass(frozen=True)
class PhraseTables:
    """An automaton as tables, in which every word after every node is one entry."""

    column: np.ndarray
    """(W,) int64 column of each word; 0 for words of no phrase."""
    after: np.ndarray
    """(N, C) int64 the node that a word leads to."""
    bonus: np.ndarray
    """(N, C) float64 what it adds to the score."""
    end: np.ndarray
    """(N,) float64 what the end of a sentence adds."""


class PhraseAutomaton:
    """Phrases of words, which are numbers here."""

    def __init__(self, phrases: Sequence[tuple[Sequence[int], float]]) -> None:
        """phrases: the words of each and its bonus; a phrase may be a single word."""
        self._children: list[dict[int, int]] = [{}]
        self._depth, self._parent, self._lead = [0], [0], [-1]
        self._reward, self._promise = [0.0], [0.0]
        for words, bonus in phrases:
            self._add(words, bonus)
        self._suffix = [0] * len(self._children)  # the longest proper suffix that is a node
        self._stays = [0] * len(self._children)  # the first node with children along the suffixes
        for node in sorted(range(1, len(self._children)), key=self._depth.__getitem__):
            self._link(node)

    @classmethod
    def of(cls, setup: SearchSetup) -> PhraseAutomaton:
        """The automaton of a search's hot words and phrases."""
        return cls(setup.favoured)

    def _add(self, words: Sequence[int], bonus: float) -> None:
        node = 0
        for place, word in enumerate(words, 1):
            if word not in self._children[node]:
                self._children[node][word] = len(self._children)
                self._children.append({})
                self._depth.append(place)
                self._parent.append(node)
                self._lead.append(word)
                self._reward.append(0.0)
                self._promise.append(0.0)
            node = self._children[node][word]
            if place < len(words):
                part = bonus * place / len(words)
                self._promise[node] = max(self._promise[node], part)
        self._reward[node] += bonus

    def _link(self, node: int) -> None:
        """Find the suffix of a node; those of shallower nodes are known."""
        if self._depth[node] > 1:
            self._suffix[node] = self._child(self._suffix[self._parent[node]], self._lead[node])
        shorter = self._suffix[node]
        self._reward[node] += self._reward[shorter]
        self._stays[node] = node if self._children[node] else self._stays[shorter]

    def _child(self, node: int, word: int) -> int:
        """The longest node that ends with `word`, said after `node`."""
        while word not in self._children[node] and node:
            node = self._suffix[node]
        return self._children[node].get(word, 0)

    def after(self, node: int, word: int) -> tuple[int, float]:
        """Where saying `word` after a node leads, and what that adds to the score."""
        said = self._child(node, word)
        stays = self._stays[said]
        return stays, self._reward[said] + self._promise[stays] - self._promise[node]

    def end(self, node: int) -> float:
        """What the end of a sentence adds: the promise is taken back."""
        return -self._promise[node]

    def bonus(
        self, words: Sequence[int], before: Sequence[int] = (), goes_on: bool = False
    ) -> float:
        """What words add to the score, said after those `before` them.

        goes_on: whether their sentence does; then what a phrase promises stays.
        """
        node, total = 0, 0.0
        for word in before:
            node, _ = self.after(node, word)
        for word in words:
            node, added = self.after(node, word)
            total += added
        return total if goes_on else total + self.end(node)

    @property
    def most(self) -> float:
        """No word adds more than this."""
        pairs = zip(self._reward, self._stays, strict=True)
        return max(reward + self._promise[stays] for reward, stays in pairs)

    def tables(self, words: int) -> PhraseTables:
        """The automaton over so many words. Raises SearchError where it is too large for tables."""
        inner = [node for node, stays in enumerate(self._stays) if node == stays]
        said = sorted({word for children in self._children for word in children})
        size = len(inner) * (1 + len(said)) * ENTRY
        if size > MEMORY:
            raise SearchError(
                f"The phrases of --hotwords, with {len(said)} different words, take "
                f"{size / 1e9:.1f} GB in --search batched: give fewer, or take --search compiled."
            )
        column = np.zeros(words, np.int64)
        column[said] = np.arange(1, 1 + len(said))
        # (N', C) of all nodes' numbers, where those of one row are what its suffix has, or longer
        row = {node: place for place, node in enumerate(inner)}
        reached = np.zeros((len(inner), 1 + len(said)), np.int64)
        for node in sorted(inner, key=self._depth.__getitem__):
            here = reached[row[node]]
            if node:
                here[:] = reached[row[self._stays[self._suffix[node]]]]
            children = self._children[node]
            here[column[list(children)]] = list(children.values())
        reward, promise = np.array(self._reward), np.array(self._promise)
        stays = np.array(self._stays)
        numbers = np.zeros(len(stays), np.int64)  # of the nodes that have rows
        numbers[inner] = np.arange(len(inner))
        bonus = reward[reached] + promise[stays[reached]] - promise[inner][:, None]
        return PhraseTables(column, numbers[stays[reached]], bonus, -promise[inner])
