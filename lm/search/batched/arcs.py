"""A lexicon as lists of arcs, for alphabets so large that `lm.search.batched.trie`'s tables are.

Legend: N nodes, node 0 the root; A arcs that lead deeper into words, by the node that they leave;
X places of words, by the node that their last symbol leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.search.batched.trie import EXTRA, Ends, Shape, held, offered
from lm.search.flat_lexicon import FlatLexicon


@dataclass(frozen=True)
class ArcTrie:
    """The nodes of a lexicon's spellings, in the order of their depth."""

    symbols: Tensor
    """(V + 3,) int64 symbols whose log-probabilities a frame holds for it, as for a `Trie`."""
    column: Tensor
    """(V,) int64 place of each symbol among them."""
    first: Tensor
    """(N,) int64 arc of each node, where those that leave it begin."""
    count: Tensor
    """(N,) int64 how many they are."""
    symbol: Tensor
    """(A,) int64 symbol of each arc."""
    child: Tensor
    """(A,) int64 node that it leads to."""
    promise: Tensor
    """(N,) float32 as in a `Trie`."""
    bonus: Tensor | None
    """(N,) float32 as in a `Trie`."""
    ends: Callable[[bool], Ends]
    """As in a `Trie`."""

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.first)

    @property
    def stay(self) -> int:
        """As in a `Trie`."""
        return len(self.symbols) - EXTRA

    def own(self, nodes: Tensor) -> tuple[Tensor, Tensor | None]:
        """What nodes promise themselves, and their bonuses."""
        return self.promise[nodes], None if self.bonus is None else self.bonus[nodes]


def build_arcs(
    lexicon: FlatLexicon,
    scores: np.ndarray,
    bonuses: np.ndarray | None,
    vocabulary: int,
    blank: int,
    device: torch.device,
) -> ArcTrie:
    """Build the lists; see `build_trie`."""
    shape = Shape(lexicon)
    promise, bonus = offered(shape, lexicon, scores, bonuses)
    inner = np.zeros(shape.nodes, bool)  # with nodes below
    inner[shape.parent[1:]] = True
    inner[0] = False  # nothing leads to the root
    going = np.flatnonzero(inner)
    going = going[np.argsort(shape.parent[going], kind="stable")]
    count = np.bincount(shape.parent[going], minlength=shape.nodes)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    symbols = np.arange(vocabulary)
    return ArcTrie(
        symbols=tensor(np.concatenate([symbols, [blank] * EXTRA])),
        column=tensor(symbols),
        first=tensor(np.cumsum(count) - count),
        count=tensor(count),
        symbol=tensor(shape.symbol[going]),
        child=tensor(going),
        promise=tensor(promise.astype(np.float32)),
        bonus=None if bonus is None else tensor(bonus.astype(np.float32)),
        ends=functools.cache(
            lambda everywhere: _ends(
                shape, lexicon.owners, len(scores) - 1, vocabulary, everywhere, device
            )
        ),
    )


def _ends(
    shape: Shape,
    owners: np.ndarray,
    unknown: int,
    vocabulary: int,
    everywhere: bool,
    device: torch.device,
) -> Ends:
    """The words after nodes; everywhere: <unk> wherever a symbol ends no other word."""
    once = held(shape, owners)
    nodes, words = shape.end[once], owners[once].astype(np.int64)
    if everywhere:
        wordless = np.setdiff1d(np.arange(1, shape.nodes), nodes)
        nodes = np.concatenate([nodes, wordless])
        words = np.concatenate([words, np.full(len(wordless), unknown)])
    order = np.argsort(shape.parent[nodes], kind="stable")
    nodes, words = nodes[order], words[order]
    count = np.bincount(shape.parent[nodes], minlength=shape.nodes)
    symbols = np.append(shape.symbol[nodes], 0)  # the last place is of no node
    return Ends(
        symbols=torch.arange(vocabulary, device=device),
        first=torch.from_numpy(np.cumsum(count) - count)[:, None].to(device),
        count=torch.from_numpy(count)[:, None].to(device),
        words=torch.from_numpy(np.append(words, unknown)).to(device),
        most=int(count.max()),
        at_root=True,
        listed=torch.from_numpy(symbols).to(device),
    )
