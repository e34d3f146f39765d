"""An n-gram model as a trie in flat arrays: read from an ARPA file, asked, and written again.

A node is an n-gram; its parent is the n-gram without its last word. Nodes are ordered by their
number of words, then by parent and last word, so a node is found by one binary search. About 50
bytes an n-gram stay in memory, and as many come and go.

Legend: N nodes, V words, M any number of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lm.language_model import LanguageModelError
from lm.ngram.arpa import read_numbered
from lm.ngram.kenlm import check_file
from lm.ngram.kneser_ney import BackoffModel, BackoffOrder

ROOT = 0  # the empty context
NEVER = -99.0  # log10 of no probability, as ARPA files write it
SMALLEST = 1e-9  # of a mass; figures of ARPA files have seven digits


@dataclass(frozen=True)
class NgramTrie:
    """A backoff model; log10 figures."""

    vocabulary: tuple[str, ...]
    """The V words, <s>, </s> and <unk> among them."""
    begins: tuple[int, ...]
    """The first node of each order, and N at the end; order 0 is the root alone."""
    parent: np.ndarray
    """(N,) int32, of the root itself."""
    word: np.ndarray
    """(N,) int32, the last word."""
    suffix: np.ndarray
    """(N,) int32, the longest n-gram of the model that is the node's without its first words."""
    log_prob: np.ndarray
    """(N,) float64."""
    backoff: np.ndarray
    """(N,) float64, 0 where there is none."""
    keys: np.ndarray
    """(N - 1,) int64 parent · V + word of each node but the root, rising."""

    @property
    def order(self) -> int:
        """Words in the longest n-grams."""
        return len(self.begins) - 2

    def nodes(self, n: int) -> slice:
        """The n-grams of n words."""
        return slice(self.begins[n], self.begins[n + 1])

    def number(self, word: str) -> int:
        """The number of a word; -1 where the model lacks it."""
        return self.vocabulary.index(word) if word in self.vocabulary else -1

    def child(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """(M,) contexts and words after them -> the node of both, -1 where there is none."""
        return _found(self.keys, contexts.astype(np.int64) * len(self.vocabulary) + words)

    def score(self, contexts: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) contexts and words -> (M,) log10 p, and the longest context that follows.

        A word that is -1 has log10 p of -inf, and the root follows.
        """
        total = np.zeros(len(words))
        after = np.zeros(len(words), np.int64)
        asked = np.flatnonzero(words >= 0)
        total[words < 0] = -np.inf
        state = np.asarray(contexts, np.int64)[asked]
        while asked.size:
            found = self.child(state, words[asked])
            there = found >= 0
            total[asked[there]] += self.log_prob[found[there]]
            after[asked[there]] = found[there]
            asked, state = asked[~there], state[~there]
            if asked.size and (state == ROOT).any():
                total[asked[state == ROOT]] = -np.inf
                asked, state = asked[state != ROOT], state[state != ROOT]
            total[asked] += self.backoff[state]
            state = self.suffix[state].astype(np.int64)
        return total, after

    def words_of(self, nodes: np.ndarray, n: int) -> np.ndarray:
        """(M,) nodes of n words -> (M, n) int32 words."""
        words = np.empty((len(nodes), n), np.int32)
        for column in range(n - 1, -1, -1):
            words[:, column] = self.word[nodes]
            nodes = self.parent[nodes]
        return words

    def model(self, keep: np.ndarray | None = None) -> BackoffModel:
        """The model for `write_arpa`; keep: (N,) whether each n-gram is written, by default all."""
        orders = []
        for n in range(1, self.order + 1):
            nodes = np.arange(self.begins[n], self.begins[n + 1])
            nodes = nodes if keep is None else nodes[keep[nodes]]
            figures = (
                np.maximum(self.log_prob[nodes], NEVER),
                np.maximum(self.backoff[nodes], NEVER),
            )
            orders.append(BackoffOrder(self.words_of(nodes, n), *figures))
        return BackoffModel(self.vocabulary, tuple(orders))


def read_trie(path: Path) -> NgramTrie:
    """Read an ARPA file, gzip by name.

    Raises LanguageModelError for a missing file, and for one that is not a complete model of
    sentences.
    """
    check_file(path)
    found = read_numbered(path)
    try:
        return make_trie(tuple(found.numbers), found.grams, found.figures)
    except ValueError as error:
        raise LanguageModelError(f"{path} {error}") from None


def make_trie(
    vocabulary: tuple[str, ...], grams: Sequence[np.ndarray], figures: Sequence[np.ndarray]
) -> NgramTrie:
    """The trie of n-grams in any order.

    grams: for each order, (M, n) words. figures: (M, 2) log10 probability and backoff.
    Raises ValueError where the context of an n-gram is missing, and for one that is there twice.
    """
    size = len(vocabulary)
    begins, count = [0, 1], 1
    keys = np.zeros(0, np.int64)
    numbers = [np.zeros((1, 2))]
    for n, (words, numeric) in enumerate(zip(grams, figures, strict=True), 1):
        contexts = np.zeros(len(words), np.int64)
        for column in range(n - 1):
            contexts = _found(keys, contexts * size + words[:, column])
            _refuse(contexts < 0, words, vocabulary, "but not the context of its last word.")
        new = contexts * size + words[:, n - 1]
        order = np.argsort(new, kind="stable")
        new = new[order]
        _refuse(np.append(np.diff(new) == 0, False), words[order], vocabulary, "twice.")
        keys = np.concatenate([keys, new])
        numbers.append(numeric[order])
        count += len(words)
        begins.append(count)
    parent, word = np.divmod(keys, size)
    flat = np.concatenate(numbers)
    nothing = np.zeros(1, np.int32)
    parents, last = (np.concatenate([nothing, x.astype(np.int32)]) for x in (parent, word))
    trie = NgramTrie(
        vocabulary, tuple(begins), parents, last, np.zeros(count, np.int32),
        flat[:, 0].copy(), flat[:, 1].copy(), keys,
    )  # fmt: skip
    for n in range(2, len(grams) + 1):
        nodes = trie.nodes(n)
        # The suffix of a node is what follows on its parent's suffix.
        trie.suffix[nodes] = trie.score(trie.suffix[parents[nodes]], last[nodes])[1]
    return trie


def backoffs(trie: NgramTrie, keep: np.ndarray | None = None) -> np.ndarray:
    """(N,) log10 backoffs with which the probabilities after each context sum to one.

    keep: (N,) whether each n-gram stays in the model, by default all; the contexts of those that
    stay do. The log-probabilities of the trie are taken as they are, its backoffs are not.
    """
    keep = np.ones(len(trie.parent), bool) if keep is None else keep
    changed = replace(trie, backoff=np.zeros(len(trie.parent)))
    if not keep.all():
        changed = _without(changed, keep)
    for n in range(2, changed.order + 1):
        left, below = masses(changed, n)
        contexts = changed.nodes(n - 1)
        changed.backoff[contexts] = np.log10(left[contexts]) - np.log10(below[contexts])
    whole = np.zeros(len(trie.parent))
    whole[keep] = changed.backoff
    return whole


def masses(trie: NgramTrie, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) what the n-grams of n words leave of one after their contexts, and below these.

    The second is one less the probabilities of the same words after the next shorter context. Where
    every word was seen both are nearly nothing, and never less than `SMALLEST`.
    """
    nodes = trie.nodes(n)
    contexts, words = trie.parent[nodes], trie.word[nodes]
    lower = trie.score(trie.suffix[contexts], words)[0]
    count = len(trie.parent)
    seen = np.bincount(contexts, 10.0 ** trie.log_prob[nodes], count)
    low = np.bincount(contexts, 10.0**lower, count)
    return np.maximum(1 - seen, SMALLEST), np.maximum(1 - low, SMALLEST)


def _without(trie: NgramTrie, keep: np.ndarray) -> NgramTrie:
    """The trie of the n-grams that stay."""
    grams, figures = [], []
    for n in range(1, trie.order + 1):
        nodes = np.arange(trie.begins[n], trie.begins[n + 1])
        nodes = nodes[keep[nodes]]
        grams.append(trie.words_of(nodes, n))
        figures.append(np.stack([trie.log_prob[nodes], trie.backoff[nodes]], axis=1))
    return make_trie(trie.vocabulary, grams, figures)


def _found(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Nodes by their keys, -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at + 1, -1)


def _refuse(wrong: np.ndarray, words: np.ndarray, vocabulary: Sequence[str], reason: str) -> None:
    if wrong.any():
        gram = " ".join(vocabulary[word] for word in words[int(np.argmax(wrong))])
        raise ValueError(f"has the n-gram {gram!r} {reason}")
