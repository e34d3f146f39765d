"""The histories that a neural language model was asked about: a tree in flat arrays.

A node is a word after a history, which is its path from the root; the root is the beginning of a
sentence. Legend: N rows, L nodes of the longest path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lm.transformer.dictionary import END
from lm.transformer.number_table import NumberTable

ROOT = 0
ROOM = 1024  # nodes that the arrays hold at first


class HistoryTree:
    """A tree of histories, its nodes by number.

    A path has at most `positions` nodes; a longer history is replaced by its last `positions` / 2
    words.
    """

    def __init__(self, vocabulary: int, positions: int) -> None:
        self._vocabulary = vocabulary
        self._positions = positions
        self._children = NumberTable()  # parent · vocabulary + token -> node
        self._free = np.zeros(0, np.int64)
        self._count = 1
        self.parent = np.full(ROOM, -1, np.int64)
        """Node before this one; -1 for the root."""
        self.token = np.full(ROOM, END, np.int64)
        """Word number of each node."""
        self.depth = np.zeros(ROOM, np.int64)
        """Number of nodes before it on its path."""
        self.state = np.zeros(ROOM, np.int64)
        """Node whose path is the history: itself, or that of the last words if it is too long."""
        self.log_prob = np.full(ROOM, np.nan)
        """log p(token | path of the parent); nan until it is computed."""

    def __len__(self) -> int:
        return self._count - len(self._free)

    @property
    def room(self) -> int:
        """Nodes that the arrays hold; all node numbers are below this."""
        return len(self.parent)

    def children(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(N,) nodes and (N,) words after them -> (N,) nodes; missing ones are made."""
        keys = parents * self._vocabulary + tokens
        found = self._children.find(keys)
        if (found < 0).any():
            self._make(np.unique(keys[found < 0]))
            found = self._children.find(keys)
        return found

    def paths(self, nodes: np.ndarray) -> np.ndarray:
        """(N,) nodes -> (N, L) the nodes from the root to each, -1 after the end."""
        depths = self.depth[nodes]
        table = np.full((len(nodes), int(depths.max(initial=-1)) + 1), -1, np.int64)
        rows, current = np.arange(len(nodes)), nodes
        while len(rows):
            table[rows, self.depth[current]] = current
            current = self.parent[current]
            kept = current >= 0
            rows, current = rows[kept], current[kept]
        return table

    def retain(self, states: Sequence[int]) -> np.ndarray:
        """Remove all nodes but the root and those on the paths of `states`.

        Returns the numbers of the removed nodes, which new nodes will reuse.
        """
        kept = np.zeros(self._count, bool)
        kept[self._free] = True
        kept[ROOT] = True
        if len(states):
            paths = self.paths(np.array(states, np.int64))
            kept[paths[paths >= 0]] = True
        forgotten = np.flatnonzero(~kept)
        kept[self._free] = kept[ROOT] = False
        left = np.flatnonzero(kept)
        self._children.clear()
        self._children.add(self.parent[left] * self._vocabulary + self.token[left], left)
        self._free = np.concatenate([self._free, forgotten])
        return forgotten

    def _make(self, keys: np.ndarray) -> None:
        split = max(0, len(self._free) - len(keys))
        recycled, self._free = self._free[split:], self._free[:split]
        fresh = np.arange(self._count, self._count + len(keys) - len(recycled))
        self._count += len(fresh)
        while self._count > self.room:
            self._grow()
        nodes = np.concatenate([recycled, fresh])
        self._children.add(keys, nodes)
        self.parent[nodes], self.token[nodes] = np.divmod(keys, self._vocabulary)
        self.depth[nodes] = self.depth[self.parent[nodes]] + 1
        self.state[nodes] = nodes
        self.log_prob[nodes] = np.nan
        for node in nodes[self.depth[nodes] >= self._positions].tolist():
            self.state[node] = self._shortened(node)

    def _shortened(self, node: int) -> int:
        """The node of the last words of a history that is too long."""
        path = self.paths(np.array([node]))[0][-(self._positions // 2) :]
        current = np.array([ROOT])
        for token in self.token[path].tolist():
            current = self.children(current, np.array([token]))
        return int(current[0])

    def _grow(self) -> None:
        empty = self.room
        self.parent = np.concatenate([self.parent, np.full(empty, -1, np.int64)])
        for name in ("token", "depth", "state"):
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros(empty, np.int64)]))
        self.log_prob = np.concatenate([self.log_prob, np.full(empty, np.nan)])
