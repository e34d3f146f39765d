"""Keys and values of histories, in a pool with one row for each node of the tree of histories.

A row holds those of the node's own word; the words before it have the rows of its ancestors. So
histories share what they have in common. When the pool is full, the rows that were used longest ago
are evicted; if they are needed again they are computed again.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.transformer.config import TransformerLMConfig

ROOM = 256  # rows that are allocated at first
SPARE = 8  # an eviction frees at least this fraction (1/8) of the rows, so that it is rare


class KeyValuePool:
    """Rows and the nodes that own them.

    A row has the keys and values of each block, the final vector and the normalizers of the bands.
    """

    def __init__(self, config: TransformerLMConfig, gigabytes: float, like: Tensor) -> None:
        """gigabytes: memory for all rows, in 10^9 bytes. like: a tensor of their device and dtype.

        Raises LanguageModelError when one history of full length does not fit.
        """
        width, bands = config.width, len(config.bands)
        row = (2 * config.blocks + 1) * width * like.element_size() + 4 * bands
        self.capacity = int(gigabytes * 1e9 / row)
        """Most rows that there may be."""
        if self.capacity < config.positions:
            raise LanguageModelError(
                f"--lm-cache-gb {gigabytes:g} is too little: one history of {config.positions} "
                f"words takes {config.positions * row / 1e9:.2g} GB."
            )
        self._blocks, self._bands = config.blocks, bands
        self.keys = [like.new_empty(0, width) for _ in range(config.blocks)]
        self.values = [like.new_empty(0, width) for _ in range(config.blocks)]
        self.hidden = like.new_empty(0, width)
        """Vector from which the next word is predicted, by row."""
        self.normalizers = like.new_empty(0, bands, dtype=torch.float32)
        """Log of the sum of exp(logit) over each band, by row; valid where `known` is true."""
        self.known = np.zeros((0, bands), bool)
        """Which normalizers of a row are computed."""
        self.slot = np.full(0, -1, np.int64)
        """Row of each node, or -1."""
        self._owner = np.full(0, -1, np.int64)  # node of each row, or -1
        # When each row was last used: rows of low rank are evicted first. Among those used in the
        # same turn the deepest have the lowest rank, so that ancestors outlive descendants.
        self._rank = np.zeros(0, np.int64)
        self._free = np.zeros(0, np.int64)
        self._had = np.zeros(0, bool)  # whether a node has had a row
        self._depth_room = config.positions + 1
        self._now = 0
        self.evicted = 0
        """Number of rows evicted so far."""
        self.again = 0
        """Number of rows computed again after they were evicted."""

    @property
    def rows(self) -> int:
        """Rows in use."""
        return len(self._owner) - len(self._free)

    @property
    def bytes(self) -> int:
        """Memory of all rows, in use or not."""
        return sum(
            tensor.nbytes for tensor in (*self.keys, *self.values, self.hidden, self.normalizers)
        )

    def know_nodes(self, count: int) -> None:
        """Prepare for node numbers below `count`."""
        if count > len(self.slot):
            more = count - len(self.slot)
            self.slot = np.concatenate([self.slot, np.full(more, -1, np.int64)])
            self._had = np.concatenate([self._had, np.zeros(more, bool)])

    def use(self, paths: np.ndarray) -> np.ndarray | None:
        """Keep the rows of the nodes on N paths, (N, L) with -1 for none, until the next call.

        Returns the distinct nodes that have no row, or None when all of them together do not fit
        into the pool.
        """
        self._now += 1
        places = np.where(paths >= 0, self.slot[paths], -2)
        row, depth = np.nonzero(places >= 0)
        self._rank[places[row, depth]] = self._now * self._depth_room - depth
        missing = np.unique(paths[places == -1])
        held = int((self._rank > (self._now - 1) * self._depth_room).sum())
        return missing if held + len(missing) <= self.capacity else None

    def allocate(self, nodes: np.ndarray, depths: np.ndarray) -> np.ndarray:
        """(N,) nodes without a row and their (N,) depths -> (N,) rows, which the caller fills."""
        if len(self._free) < len(nodes):
            self._make_room(len(nodes))
        split = len(self._free) - len(nodes)
        rows, self._free = self._free[split:][::-1].copy(), self._free[:split]
        self.slot[nodes] = rows
        self.again += int(self._had[nodes].sum())
        self._had[nodes] = True
        self._owner[rows] = nodes
        self._rank[rows] = self._now * self._depth_room - depths
        self.known[rows] = False
        return rows

    def release(self, nodes: np.ndarray) -> None:
        """Free the rows of nodes that were removed from the tree."""
        nodes = nodes[nodes < len(self.slot)]
        self._had[nodes] = False
        rows = self.slot[nodes]
        self._give_back(rows[rows >= 0])

    def _give_back(self, rows: np.ndarray) -> None:
        self.slot[self._owner[rows]] = -1
        self._owner[rows] = -1
        self._rank[rows] = 0
        self._free = np.concatenate([self._free, rows])

    def _make_room(self, count: int) -> None:
        size = len(self._owner)
        wanted = size - len(self._free) + count
        if wanted > size and size < self.capacity:
            self._grow(min(self.capacity, max(ROOM, 2 * size, wanted)))
        short = count - len(self._free)
        if short <= 0:
            return
        # Never the rows of this turn.
        old = np.flatnonzero(
            (self._owner >= 0) & (self._rank <= (self._now - 1) * self._depth_room)
        )
        going = old[
            np.argsort(self._rank[old], kind="stable")[: max(short, self.capacity // SPARE)]
        ]
        self.evicted += len(going)
        self._give_back(going)

    def _grow(self, size: int) -> None:
        added = size - len(self._owner)
        for block in range(self._blocks):
            self.keys[block] = _longer(self.keys[block], added)
            self.values[block] = _longer(self.values[block], added)
        self.hidden, self.normalizers = (
            _longer(self.hidden, added),
            _longer(self.normalizers, added),
        )
        fresh = np.arange(size - 1, len(self._owner) - 1, -1)
        self._free = np.concatenate([self._free, fresh])
        self.known = np.concatenate([self.known, np.zeros((added, self._bands), bool)])
        self._owner = np.concatenate([self._owner, np.full(added, -1, np.int64)])
        self._rank = np.concatenate([self._rank, np.zeros(added, np.int64)])


def _longer(tensor: Tensor, added: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros(added, tensor.shape[1])])
