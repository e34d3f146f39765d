"""A word Transformer as a language model: each distinct history is one row of a batched forward.

A row computes one word and reads the keys and values of the words before it from a pool. Only the
words that are asked for are scored. Legend: N rows, L words of the longest history, D width,
P pairs of a history and a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lm.transformer.dictionary import END, PAD, Dictionary
from lm.transformer.histories import ROOT, HistoryTree
from lm.transformer.key_value_pool import KeyValuePool
from lm.transformer.network import TransformerNetwork

AHEAD = {"cpu": 32, "cuda": 512}  # rows up to which expected histories fill a forward
GATHERED = 1 << 26  # numbers of keys (and of values) that one forward copies for a block
LOOKAHEAD = 1 << 25  # log-probabilities that `lookahead` computes together
SENTENCE_TOKENS = 2048  # words of whole sentences in one forward


class TransformerLM:
    """A word Transformer behind the verbs of `LanguageModel`; log-probabilities are natural.

    A sentence begins with </s>, as in fairseq. A state is the number of a history, the same for the
    same history until `retain` removes it. A word outside the dictionary is <unk> and has the
    probability that the network gives to <unk>.
    """

    log_base = math.e

    def __init__(
        self,
        network: TransformerNetwork,
        dictionary: Dictionary,
        words: Sequence[str] | None = None,
        *,
        cache_gb: float,
    ) -> None:
        """network: on its device and in its dtype.

        words: the word of each index; by default those of the dictionary.
        cache_gb: memory for keys and values, in 10^9 bytes. Raises LanguageModelError when it is
        too small for one history.
        """
        self.network = network.eval()
        self.dictionary = dictionary
        self.words: Sequence[str] = dictionary.words if words is None else words
        self._tokens = dictionary.encode(self.words).astype(np.int64)
        self._device = network.softmax.words.device
        self._ends = np.array(network.softmax.ends)
        self._tree = HistoryTree(len(dictionary), network.config.positions)
        self._pool = KeyValuePool(network.config, cache_gb, network.softmax.words)
        self._gigabytes, self._told = cache_gb, False
        self._expected = np.zeros(0, np.int64)
        self._ahead = AHEAD["cuda" if self._device.type == "cuda" else "cpu"]
        self.forwards = 0
        """Number of batched forwards so far, for tests and the benchmark."""
        self.rows = 0
        """Number of histories computed so far, repetitions included, for the same."""

    @property
    def cache_bytes(self) -> int:
        """Memory of keys, values and final vectors, for the benchmark."""
        return self._pool.bytes

    def knows(self, word: str) -> bool:
        """Whether `word` has a number of its own."""
        return word in self.dictionary.index

    def start(self, count: int = 1) -> list[int]:
        """See `LanguageModel`."""
        return [ROOT] * count

    def score(self, states: Sequence[int], words: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """See `LanguageModel`."""
        scores, after = self.score_numbers(
            np.asarray(states, np.int64), np.asarray(words, np.int64)
        )
        return scores, after.tolist()

    def score_numbers(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Numbered`."""
        nodes = self._scored(states, self._tokens[words])
        return self._tree.log_prob[nodes], self._tree.state[nodes]

    def shortage(self) -> str | None:
        """See `Caching`."""
        if self._told or not self._pool.again:
            return None
        self._told = True
        return (
            f"The language model's cache of {self._gigabytes:.3g} GB (--lm-cache-gb) was too "
            f"little: {self._pool.again} of {self.rows} histories were computed again."
        )

    def finish(self, states: Sequence[int]) -> np.ndarray:
        """See `LanguageModel`."""
        # Not in one expression: `_scored` may replace the array `log_prob`.
        nodes = self._scored(states, np.full(len(states), END))
        return self._tree.log_prob[nodes]

    @torch.no_grad()
    def lookahead(self, states: Sequence[int]) -> np.ndarray:
        """N states -> (N, words) float32 log p of every word in `words` after each."""
        rows = np.asarray(states, np.int64)
        unique, inverse = np.unique(rows, return_inverse=True)
        parts = []
        for group in self._groups(unique):
            hidden = self._pool.hidden[self._index(self._pool.slot[group])]
            for some in hidden.split(max(1, LOOKAHEAD // len(self.dictionary))):
                parts.append(
                    self.network.softmax.log_probs(some)[:, self._index(self._tokens)].cpu().numpy()
                )
        return (
            np.concatenate(parts)[inverse] if parts else np.zeros((0, len(self.words)), np.float32)
        )

    def retain(self, states: Sequence[int] = ()) -> None:
        """Remove all histories but `states` and their beginnings; the numbers will be reused.

        A search must call this when utterances end, with the states that it still holds; otherwise
        the tree grows without end.
        """
        self._pool.release(self._tree.retain(states))
        self._expected = np.zeros(0, np.int64)

    def expect(self, states: Sequence[int]) -> None:
        """Announce the states that will probably be scored next, such as those of a beam.

        They replace those announced before. Nothing is computed now: when a forward runs anyway and
        has room, these histories are added to it. With few rows on a CPU that costs almost nothing,
        since a forward reads all weights.
        """
        self._expected = np.unique(np.asarray(states, np.int64))

    @torch.no_grad()
    def score_sentences(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence the (words + 1,) log p of its words and of its end.

        Whole sentences are computed in parallel, without the pool of keys and values; one that is
        longer than `positions` is scored word by word.
        """
        results = [np.zeros(0)] * len(sentences)
        longest = self.network.config.positions - 1
        whole = [i for i, sentence in enumerate(sentences) if len(sentence) <= longest]
        for i, sentence in enumerate(sentences):
            if len(sentence) > longest:
                results[i] = self._stepwise(sentence)
        whole.sort(key=lambda i: len(sentences[i]))
        while whole:
            width = len(sentences[whole[-1]]) + 1
            count = max(1, SENTENCE_TOKENS // width)
            batch, whole = whole[-count:], whole[:-count]
            for i, scores in zip(
                batch, self._batch([sentences[i] for i in batch], width), strict=True
            ):
                results[i] = scores
        return results

    def _batch(self, sentences: Sequence[Sequence[int]], width: int) -> list[np.ndarray]:
        """Score sentences of up to width - 1 words in one forward."""
        tokens = np.full((len(sentences), width + 1), PAD, np.int64)
        tokens[:, 0] = END
        for row, sentence in zip(tokens, sentences, strict=True):
            row[1 : len(sentence) + 1] = self._tokens[np.asarray(sentence, np.int64)]
            row[len(sentence) + 1] = END
        targets = self._index(tokens[:, 1:]).flatten()
        hidden = self.network(self._index(tokens[:, :-1])).flatten(0, 1)
        kept = (targets != PAD).nonzero().squeeze(1)
        scores = (
            self.network.softmax.target_log_probs(hidden[kept], targets[kept])
            .double()
            .cpu()
            .numpy()
        )
        ends = np.cumsum([len(sentence) + 1 for sentence in sentences])
        return np.split(scores, ends[:-1])

    def _stepwise(self, sentence: Sequence[int]) -> np.ndarray:
        states, scores = self.start(), []
        for word in sentence:
            score, states = self.score(states, [word])
            scores.append(score)
        return np.concatenate([*scores, self.finish(states)])

    @torch.no_grad()
    def _scored(self, states: Sequence[int] | np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """P states and words -> (P,) nodes of the words, whose `log_prob` has been computed."""
        nodes = self._tree.children(np.asarray(states, np.int64), tokens)
        unknown = np.unique(nodes[np.isnan(self._tree.log_prob[nodes])])
        parents = self._tree.parent[unknown]
        order = np.argsort(parents, kind="stable")
        unknown, parents = unknown[order], parents[order]
        for group in self._groups(np.unique(parents)):
            first, last = (
                np.searchsorted(parents, group[0]),
                np.searchsorted(parents, group[-1], "right"),
            )
            asked = unknown[first:last]
            scores = self._pairs(self._pool.slot[parents[first:last]], self._tree.token[asked])
            self._tree.log_prob[asked] = scores
        return nodes

    def _groups(self, nodes: np.ndarray) -> Iterator[np.ndarray]:
        """Yield parts of the distinct, rising `nodes`, whose rows stay in the pool meanwhile."""
        if not len(nodes):
            return
        self._pool.know_nodes(self._tree.room)
        missing = self._pool.use(self._tree.paths(nodes))
        if missing is not None:
            self._compute(self._with_expected(nodes, missing) if len(missing) else missing)
            yield nodes
            return
        half = len(nodes) // 2  # too many for the pool at once
        yield from self._groups(nodes[:half])
        yield from self._groups(nodes[half:])

    def _with_expected(self, nodes: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """`missing` and the expected histories that fit into the same forward and into the pool."""
        expected = self._expected[self._pool.slot[self._expected] < 0]
        expected = np.setdiff1d(expected, nodes)[: max(0, self._ahead - len(missing))]
        if not len(expected):
            return missing
        more = self._pool.use(self._tree.paths(np.concatenate([nodes, expected])))
        if more is not None:
            return more
        self._pool.use(self._tree.paths(nodes))
        return missing

    def _compute(self, nodes: np.ndarray) -> None:
        """Compute rows for distinct nodes whose ancestors have rows or are among the nodes."""
        nodes = nodes[np.argsort(self._tree.depth[nodes], kind="stable")]
        while len(nodes):
            parents = self._tree.parent[nodes]
            # One level of the tree at a time.
            ready = (parents < 0) | (self._pool.slot[parents] >= 0)
            now, nodes = nodes[ready], nodes[~ready]
            while len(now):
                # In order of depth, so that the rows of a forward are about equally long.
                sizes = (
                    (self._tree.depth[now] + 1)
                    * np.arange(1, len(now) + 1)
                    * self.network.config.width
                )
                count = max(1, int(np.searchsorted(sizes, GATHERED, "right")))
                self._forward(now[:count])
                now = now[count:]

    def _forward(self, nodes: np.ndarray) -> None:
        """Run the network for the word of each node; results go to the pool."""
        pool, network = self._pool, self.network
        depths = self._tree.depth[nodes]
        rows = self._index(pool.allocate(nodes, depths))
        paths = self._tree.paths(nodes)
        table = self._index(np.where(paths >= 0, pool.slot[paths], 0))
        tokens = self._index(self._tree.token[nodes])
        caches = list(zip(pool.keys, pool.values, strict=True))
        pool.hidden[rows] = network.step(
            tokens, self._index(depths), caches, rows, table, self._index(paths) < 0
        )
        self.forwards += 1
        self.rows += len(nodes)

    def _pairs(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(P,) rows of the pool and (P,) words after them -> (P,) float64 log p(word | row)."""
        scores = torch.zeros(len(rows), device=self._device)
        bands = np.searchsorted(self._ends, tokens, "right")
        softmax, normalizers = self.network.softmax, self._pool.normalizers
        self._normalize(np.unique(rows), 0)
        for band in np.unique(bands).tolist():
            at = np.flatnonzero(bands == band)
            unique, inverse = np.unique(rows[at], return_inverse=True)
            self._normalize(unique, band)
            index, owners = self._index(unique), self._index(inverse)
            hidden = self._pool.hidden[index]
            parts = softmax.pair_logits(hidden, owners, self._index(tokens[at]), band)
            less = normalizers[index, 0]
            if band:  # log p = log p(class of the band) + log p(word | band)
                less = less + normalizers[index, band] - softmax.class_logits(hidden, band)
            scores[self._index(at)] = parts - less[owners]
        return scores.double().cpu().numpy()

    def _normalize(self, rows: np.ndarray, band: int) -> None:
        """Compute the normalizers of a band for those of the distinct rows that lack them."""
        new = rows[~self._pool.known[rows, band]]
        if len(new):
            index = self._index(new)
            self._pool.normalizers[index, band] = self.network.softmax.normalizer(
                self._pool.hidden[index], band
            )
            self._pool.known[new, band] = True

    def _index(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)
