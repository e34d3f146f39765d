"""A lexicon as flat tensors: the trie of its spellings, with words and the best word below a node.

Legend: N nodes, node 0 the root; A arcs, sorted by the node they leave; W words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Spelling = tuple[int, ...]


@dataclass(frozen=True)
class FlatTrie:
    """Arcs and words of one node lie side by side: `count` of them, from `first` on."""

    arc_first: Tensor
    """(N,) int64."""
    arc_count: Tensor
    """(N,) int64."""
    arc_token: Tensor
    """(A,) int64 symbol of an arc."""
    arc_node: Tensor
    """(A,) int64 node it leads to."""
    word_first: Tensor
    """(N,) int64."""
    word_count: Tensor
    """(N,) int64."""
    word: Tensor
    """int64 words at nodes, in the order of the lexicon."""
    promise: Tensor
    """(N,) float64 the best score offered at or below a node (max smearing); 0 at the root.

    The words of one node together offer the log of their summed probabilities, as in flashlight's
    trie."""
    bonus: Tensor
    """(N,) float64 the best bonus of a word at or below a node, at least 0; 0 at the root."""


def build_trie(
    spellings: Iterable[tuple[Spelling, int]],
    scores: np.ndarray,
    bonuses: np.ndarray,
    device: torch.device,
) -> FlatTrie:
    """Build the trie of spellings, of which there is at least one, each with its word's index.

    scores, bonuses: (W,) one for each word. A word stands once at a node; unlike flashlight's trie,
    which holds six words at a node, this one holds any number.
    """
    children: dict[tuple[int, int], int] = {}
    words: dict[tuple[int, int], None] = {}
    parents = [0]
    # A node is numbered when it is first reached, so its number is above its parent's.
    for spelling, word in spellings:
        node = 0
        for token in spelling:
            child = children.setdefault((node, token), len(parents))
            if child == len(parents):
                parents.append(node)
            node = child
        words[node, word] = None
    nodes = len(parents)
    # (A, 3) node, symbol, child and (words at nodes, 2) node, word; both by rising node
    arcs = np.array(
        [(node, token, child) for (node, token), child in sorted(children.items())], np.int64
    )
    held = np.array(sorted(words, key=lambda pair: pair[0]), np.int64)
    promise = np.full(nodes, -np.inf)
    np.logaddexp.at(promise, held[:, 0], scores[held[:, 1]].astype(np.float64))
    bonus = np.zeros(nodes)
    np.maximum.at(bonus, held[:, 0], bonuses[held[:, 1]].astype(np.float64))
    best, highest = promise.tolist(), bonus.tolist()
    for node in range(nodes - 1, 0, -1):  # from the deepest up
        best[parents[node]] = max(best[parents[node]], best[node])
        highest[parents[node]] = max(highest[parents[node]], highest[node])
    best[0] = highest[0] = 0.0
    arc_count, word_count = (
        np.bincount(owners, minlength=nodes) for owners in (arcs[:, 0], held[:, 0])
    )

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    return FlatTrie(
        arc_first=tensor(np.cumsum(arc_count) - arc_count),
        arc_count=tensor(arc_count),
        arc_token=tensor(arcs[:, 1]),
        arc_node=tensor(arcs[:, 2]),
        word_first=tensor(np.cumsum(word_count) - word_count),
        word_count=tensor(word_count),
        word=tensor(held[:, 1]),
        promise=tensor(np.array(best)),
        bonus=tensor(np.array(highest)),
    )


def spread(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) beginnings and lengths of ranges -> of each element of all ranges its row, and itself.

    For example first (5, 9) and count (2, 1) give rows (0, 0, 1) and elements (5, 6, 9).
    """
    rows = torch.repeat_interleave(count)
    offsets = torch.cumsum(count, 0) - count
    return rows, torch.arange(len(rows), device=rows.device) + (first - offsets)[rows]
