"""A lexicon as flat tensors: the trie of its spellings, the words at each node, the best word below it.

Legend: N nodes, node 0 the root; A arcs, sorted by the node they leave; W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Spelling = tuple[int, ...]


@dataclass(frozen=True)
class FlatTrie:
    """Arcs and words of a node lie side by side: from `first` on, `count` of them."""

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
    """(N,) float64 the best of what a node and those below it offer (max smearing); 0 at the root, which promises nothing.

    The words at one node offer the log of the sum of their scores, as flashlight's trie has it."""
    bonus: Tensor
    """(N,) float64 the best bonus of a word at or below a node, not below 0; 0 at the root."""


def build_trie(
    spellings: Sequence[tuple[Spelling, int]],
    scores: np.ndarray,
    bonuses: np.ndarray,
    device: torch.device,
) -> FlatTrie:
    """Pairs of a spelling and its word's index, (W,) scores and bonuses of the words; spellings must not be empty.

    A word stands once at a node. Unlike flashlight's trie, which holds six words to a node, this one holds any number.
    """
    children: dict[tuple[int, int], int] = {}
    words: dict[tuple[int, int], None] = {}
    parents = [0]
    for spelling, word in spellings:
        node = 0
        for token in spelling:
            child = children.setdefault((node, token), len(parents))
            if child == len(parents):
                parents.append(node)
            node = child
        words[node, word] = None
    nodes = len(parents)
    arcs = np.array(
        [(node, token, child) for (node, token), child in sorted(children.items())], np.int64
    )
    held = np.array(sorted(words, key=lambda pair: pair[0]), np.int64)
    promise = np.full(nodes, -np.inf)
    np.logaddexp.at(promise, held[:, 0], scores[held[:, 1]].astype(np.float64))
    bonus = np.zeros(nodes)
    np.maximum.at(bonus, held[:, 0], bonuses[held[:, 1]].astype(np.float64))
    best, highest = promise.tolist(), bonus.tolist()
    for node in range(nodes - 1, 0, -1):  # a node's number is above its parent's
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
    """(M,) beginnings and (M,) lengths of ranges -> the row of each element of all ranges, and the element."""
    rows = torch.repeat_interleave(count)
    offsets = torch.cumsum(count, 0) - count
    return rows, torch.arange(len(rows), device=rows.device) + (first - offsets)[rows]
