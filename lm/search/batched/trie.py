"""A lexicon as tensors of fixed shapes: what each node leads to, and the words that end below it.

A row of a table is a node, a column what a frame can do there. The first D columns are the symbols
that lead deeper into a word; then come the two ways to stay at the node, and one that is closed.
Where that would take too much memory, as with thousands of word pieces, `lm.search.batched.arcs`
lists what there is.

Legend: N nodes, node 0 the root; R spellings, L symbols of the longest; W = D + 3 columns; V
symbols of the vocabulary, Y of them that end words; X places of words, of nodes in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm.search.flat_lexicon import FlatLexicon

MEMORY = 1 << 30  # bytes that the tables of a trie may take
ROOT = 0  # the node between two words
EXTRA = 3  # columns after those of symbols: the symbol lasts, a blank, closed


@dataclass(frozen=True)
class Trie:
    """The nodes of a lexicon's spellings, in the order of their depth."""

    symbols: Tensor
    """(W,) int64 symbol of each column; the blank for the last three."""
    column: Tensor
    """(V,) int64 column of each symbol; the closed one where it leads nowhere."""
    child: Tensor
    """(N, W) int32 node that a column leads to; the node itself in the last three."""
    promise: Tensor
    """(N, W) float32 the best score offered at or below that node (max smearing), 0 at the root;
    minus infinity where a column leads nowhere.

    The words of one node together offer the log of their summed probabilities, as in flashlight's
    trie."""
    bonus: Tensor | None
    """(N, W) float32 the best bonus of a word at or below that node, at least 0; None without."""
    ends: Callable[[bool], Ends]
    """Where words end; given True, an unknown word ends wherever no word of the lexicon does."""

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.child)

    def own(self, nodes: Tensor) -> tuple[Tensor, Tensor | None]:
        """What nodes promise themselves, and their bonuses."""
        bonus = None if self.bonus is None else self.bonus[nodes, self.stay]
        return self.promise[nodes, self.stay], bonus

    @property
    def stay(self) -> int:
        """The column of the symbol that lasts; the next two are a blank, and closed."""
        return len(self.symbols) - EXTRA


@dataclass(frozen=True)
class Ends:
    """The words that a symbol ends at each node. Those of one place lie side by side."""

    symbols: Tensor
    """(Y,) int64 symbols that end words."""
    first: Tensor
    """(N, Y) int32 place of the first word that a symbol ends."""
    count: Tensor
    """(N, Y) int32 how many words it ends."""
    words: Tensor
    """(X,) int64 word at each place; the last is the unknown word."""
    most: int
    """The most words that end together."""
    at_root: bool
    """Whether one symbol alone spells a word of the lexicon."""
    listed: Tensor | None = None
    """(X,) int64 symbol at each place, where Y is 1 and stands for all symbols: then a node has one
    range of places, for all that end words after it."""

    @property
    def kinds(self) -> int:
        """Y."""
        return self.first.shape[1]


def fits(lexicon: FlatLexicon, vocabulary: int) -> bool:
    """Whether the tables of a lexicon's trie are small enough."""
    each = 16 * vocabulary  # bytes of a node
    return (
        each * (len(lexicon.symbols) + 1) <= MEMORY  # no two spellings share a beginning
        or each * Shape(lexicon).nodes <= MEMORY
    )


def build_trie(
    lexicon: FlatLexicon,
    scores: np.ndarray,
    bonuses: np.ndarray | None,
    vocabulary: int,
    blank: int,
    device: torch.device,
) -> Trie:
    """Build the trie of a lexicon, which holds at least one spelling.

    scores, bonuses: one for each word, <unk> last. vocabulary: number of symbols. A word stands
    once at a node; unlike flashlight's trie, which holds six words at a node, this one holds any
    number.
    """
    shape = Shape(lexicon)
    promise, bonus = offered(shape, lexicon, scores, bonuses)
    inner = np.zeros(shape.nodes, bool)  # with nodes below
    inner[shape.parent[1:]] = True
    going = np.flatnonzero(inner)[1:]  # nodes that a symbol leads deeper to; the root is none
    deep = np.unique(shape.symbol[going])
    width = len(deep) + EXTRA
    column = np.full(vocabulary, width - 1, np.int64)
    column[deep] = np.arange(len(deep))
    child = np.repeat(np.arange(shape.nodes, dtype=np.int32)[:, None], width, 1)
    child[shape.parent[going], column[shape.symbol[going]]] = going
    child[:, : len(deep)][child[:, : len(deep)] == np.arange(shape.nodes)[:, None]] = ROOT
    ahead = promise.astype(np.float32)[child]
    ahead[:, : len(deep)][child[:, : len(deep)] == ROOT] = -np.inf
    ahead[:, -1] = -np.inf

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    return Trie(
        symbols=tensor(np.concatenate([deep, [blank] * EXTRA]).astype(np.int64)),
        column=tensor(column),
        child=tensor(child),
        promise=tensor(ahead),
        bonus=None if bonus is None else tensor(bonus.astype(np.float32)[child]),
        ends=functools.cache(
            lambda everywhere: _ends(shape, lexicon.owners, len(scores) - 1, everywhere, device)
        ),
    )


class Shape:
    """The nodes of spellings; those of one depth have one range of numbers, from short to long."""

    def __init__(self, lexicon: FlatLexicon) -> None:
        ends = lexicon.ends.astype(np.int64)
        lengths = np.diff(ends, prepend=0)
        begins, longest = ends - lengths, int(lengths.max())
        # (R, L) spellings with -1 after their ends, sorted: those of one beginning lie together
        table = np.full((len(ends), longest), -1, np.int32)
        within = np.arange(longest) < lengths[:, None]
        table[within] = lexicon.symbols[(begins[:, None] + np.arange(longest))[within]]
        order = np.lexsort(table.T[::-1])
        table, lengths = table[order], lengths[order]
        parents, symbols = [np.zeros(1, np.int64)], [np.full(1, -1, np.int64)]
        at, end = np.zeros(len(ends), np.int64), np.zeros(len(ends), np.int64)
        fresh = np.zeros(len(ends), bool)  # whether a row differs from the one before it, so far
        fresh[0] = True
        self.levels = [(0, 1)]
        count = 1
        for depth in range(longest):
            fresh[1:] |= table[1:, depth] != table[:-1, depth]
            alive = lengths > depth
            new = alive & fresh
            number = count + np.cumsum(new) - 1  # of the node that a row reaches
            parents.append(at[new])
            symbols.append(table[new, depth].astype(np.int64))
            at = np.where(alive, number, at)
            count += int(new.sum())
            self.levels.append((self.levels[-1][1], count))
        end[order] = at
        self.nodes = count
        self.parent, self.symbol = np.concatenate(parents), np.concatenate(symbols)
        self.end = end
        """(R,) the node that each spelling ends at."""


def offered(
    shape: Shape, lexicon: FlatLexicon, scores: np.ndarray, bonuses: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(N,) the best score at or below each node, and the best bonus."""
    _, once = np.unique(_pairs(shape, lexicon.owners), return_index=True)
    nodes, words = shape.end[once], lexicon.owners[once]
    promise, bonus = np.full(shape.nodes, -np.inf), None
    np.logaddexp.at(promise, nodes, scores[words].astype(np.float64))
    _raise(promise, shape)
    if bonuses is not None:
        bonus = np.zeros(shape.nodes)
        np.maximum.at(bonus, nodes, bonuses[words].astype(np.float64))
        _raise(bonus, shape)
    return promise, bonus


def _raise(best: np.ndarray, shape: Shape) -> None:
    """Give each node the best of what lies below it; nothing is looked ahead to at the root."""
    for first, last in reversed(shape.levels[1:]):  # from the deepest up
        np.maximum.at(best, shape.parent[first:last], best[first:last])
    best[ROOT] = 0.0


def _pairs(shape: Shape, owners: np.ndarray) -> np.ndarray:
    """(R,) a number for each pair of a node and a word at it."""
    return shape.end * (int(owners.max()) + 1) + owners


def held(shape: Shape, owners: np.ndarray) -> np.ndarray:
    """The spellings that say a word at a node for the first time, by node."""
    _, once = np.unique(_pairs(shape, owners), return_index=True)
    once.sort()
    return once[np.argsort(shape.end[once], kind="stable")]


def _ends(
    shape: Shape, owners: np.ndarray, unknown: int, everywhere: bool, device: torch.device
) -> Ends:
    """The words at nodes, in the order of the lexicon; everywhere: <unk> at all other nodes."""
    once = held(shape, owners)
    words = np.append(owners[once].astype(np.int64), unknown)
    count = np.bincount(shape.end[once], minlength=shape.nodes)
    first = np.cumsum(count) - count
    at_root = bool((count[shape.levels[1][0] : shape.levels[1][1]] > 0).any())
    if everywhere:
        first, count = np.where(count > 0, first, len(words) - 1), np.maximum(count, 1)
        count[ROOT] = 0
    ending = np.flatnonzero(count)
    symbols = np.unique(shape.symbol[ending])
    place = np.searchsorted(symbols, shape.symbol[ending])
    table = np.zeros((2, shape.nodes, len(symbols)), np.int32)
    table[0, shape.parent[ending], place] = first[ending]
    table[1, shape.parent[ending], place] = count[ending]
    firsts, counts = torch.from_numpy(table).to(device)
    return Ends(
        symbols=torch.from_numpy(symbols).to(device),
        first=firsts,
        count=counts,
        words=torch.from_numpy(words).to(device),
        most=int(count.max()),
        at_root=at_root,
    )
