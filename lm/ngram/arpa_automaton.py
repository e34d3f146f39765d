"""n-gram models as backoff automata in flat arrays, and a reader of ARPA files in Python.

A state is the longest context that can still matter: an n-gram that is the prefix of a longer one,
or that has a backoff weight. Of two contexts that no word tells apart only the shorter one is a
state, as in KenLM (Heafield, 2011, §4.1).

The compiled library (`lm/native`) builds the same automaton in a fraction of the time. This reader
stays for two reasons. Where there was no compiler at installation, and on Python 3.13, for which
neither kenlm nor flashlight-text has a build, the batched search is the only search with a
language model and this is its only way to read one. And the tests compare the compiled reader
with it.

Legend: S states, A arcs, V words of the model, M n-grams of one order n.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lm.language_model import UNK, LanguageModelError
from lm.ngram.arpa import read_numbered
from lm.ngram.kenlm import MISSING_UNK, check_file
from lm.ngram.layout import AutomatonArrays, arc_table

ROOT = 0  # the empty context


def read_automaton(path: Path) -> AutomatonArrays:
    """Read an ARPA file, gzip by name; this takes minutes for millions of n-grams.

    Raises LanguageModelError when `path` is missing or is not a complete ARPA model of sentences.
    """
    check_file(path)
    found = read_numbered(path, first=(UNK,))
    grams, figures = list(found.grams), list(found.figures)
    if not (has_unknown := bool((grams[0] == 0).any())):
        grams[0] = np.concatenate([grams[0], [[0]]])
        figures[0] = np.concatenate([figures[0], [[MISSING_UNK, 0.0]]])
    builder = _Builder(path, found.numbers, grams, figures)
    return builder.automaton(has_unknown)


class _Builder:
    """Builds a trie of contexts, one node for each n-gram, then finds the nodes that are states."""

    def __init__(
        self,
        path: Path,
        vocabulary: dict[str, int],
        grams: list[np.ndarray],
        figures: list[np.ndarray],
    ) -> None:
        """grams: (M, n) word numbers of each order. figures: (M, 2), see `NumberedNgrams`."""
        self.path = path
        self.vocabulary, self.order = vocabulary, len(grams)
        self.keys = np.zeros(0, np.int64)  # context · V + word of every node but the root, rising
        self.nodes = np.zeros(0, np.int64)  # node of each key
        self.log_prob, self.backoff = np.zeros(1, np.float32), np.zeros(1, np.float32)
        self.suffix = np.zeros(1, np.int64)  # node of the n-gram without its first word
        self.longest = np.zeros(1, np.int64)  # longest suffix of a node that is a state
        levels = [np.zeros(1, np.int64)]
        for words, values in zip(grams, figures, strict=True):
            levels.append(self._add(words.astype(np.int64), values.astype(np.float32)))
        self._find_states(levels)

    def automaton(self, has_unknown: bool) -> AutomatonArrays:
        """The states and arcs that were found."""
        begin = self._child(np.zeros(1, np.int64), np.array([self.vocabulary["<s>"]]))[0]
        states, words = np.divmod(self.keys, len(self.vocabulary))
        arcs, probes = arc_table(states, words, self.longest[self.nodes], self.log_prob[self.nodes])
        return AutomatonArrays(
            self.vocabulary,
            self.order,
            int(self.longest[begin]),
            arcs,
            probes,
            self.longest[self.suffix].astype(np.int32),
            self.backoff,
            has_unknown,
        )

    def _add(self, words: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Add (M, n) n-grams whose contexts are in the trie; returns their (M,) nodes."""
        contexts = self._descend(words[:, :-1])
        if (contexts < 0).any():
            raise LanguageModelError(
                f"{self.path} has the n-gram {self._named(words[int(np.argmin(contexts))])} but "
                "not the context of its last word: it is damaged."
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
        order = np.argsort(keys, kind="stable")
        if (twice := np.flatnonzero(np.diff(keys[order]) == 0)).size:
            gram = words[order[twice[0] + 1] - len(self.keys)]
            raise LanguageModelError(f"{self.path} has the n-gram {self._named(gram)} twice.")
        self.keys, self.nodes = keys[order], np.concatenate([self.nodes, nodes])[order]
        return nodes

    def _named(self, gram: np.ndarray) -> str:
        names = list(self.vocabulary)
        return repr(" ".join(names[word] for word in gram))

    def _child(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The node of each context with a word after it, -1 where there is none."""
        wanted = contexts * len(self.vocabulary) + words
        at = np.minimum(np.searchsorted(self.keys, wanted), max(0, len(self.keys) - 1))
        return np.where(self.keys[at] == wanted, self.nodes[at], -1)

    def _descend(self, words: np.ndarray) -> np.ndarray:
        """(M, n) words -> (M,) nodes of these n-grams, -1 where there is none."""
        contexts = np.zeros(len(words), np.int64)
        for column in words.T:
            contexts = np.where(contexts < 0, -1, self._child(contexts, column))
        return contexts

    def _longest_child(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The node of the longest suffix of each context that is followed by the word.

        It ends because every word is a child of the root.
        """
        found = self._child(contexts, words)
        while (lacking := (found < 0)).any():
            contexts = np.where(lacking, self.suffix[contexts], contexts)
            found[lacking] = self._child(contexts[lacking], words[lacking])
        return found

    def _find_states(self, levels: list[np.ndarray]) -> None:
        """Set `longest`; levels: the nodes of each order, the root first."""
        self.longest = np.arange(len(self.log_prob))
        has_children = np.zeros(len(self.log_prob), bool)
        has_children[self.keys // len(self.vocabulary)] = True
        idle = ~has_children & (self.backoff == 0)
        idle[levels[-1]] = True  # n-grams of the highest order are never contexts
        idle[ROOT] = False
        # From short to long, so that the suffix of a node has found its state before the node does.
        for nodes in levels[1:]:
            drop = nodes[idle[nodes]]
            self.longest[drop] = self.longest[self.suffix[drop]]
