"""A table from whole numbers to whole numbers, in which many are looked up and added at once."""

from __future__ import annotations

import numpy as np

NONE = -1  # key of a slot that is not used, and value of a key that is not there
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits
SLOTS = 1024  # of a new table, a power of two


class NumberTable:
    """Open addressing over arrays; at most half of the slots are used. Legend: N keys."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._used

    def clear(self) -> None:
        """Forget all keys."""
        self._used = 0
        self._keys, self._values = (np.full(SLOTS, NONE, np.int64) for _ in range(2))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """(N,) int64 keys from 0 up -> (N,) int64 values, -1 for those that are not there."""
        found = np.full(len(keys), NONE, np.int64)
        left, at = np.arange(len(keys)), self._home(keys)
        while len(left):
            there, wanted = self._keys[at], keys[left]
            same = there == wanted
            found[left[same]] = self._values[at[same]]
            on = ~same & (there != NONE)
            left, at = left[on], (at[on] + 1) & (len(self._keys) - 1)
        return found

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add (N,) distinct keys that are not there, with their (N,) values."""
        self._used += len(keys)
        if 2 * self._used > len(self._keys):
            there = np.flatnonzero(self._keys != NONE)
            keys = np.concatenate([self._keys[there], keys])
            values = np.concatenate([self._values[there], values])
            size = len(self._keys)
            while 2 * self._used > size:
                size *= 2
            self._keys, self._values = (np.full(size, NONE, np.int64) for _ in range(2))
        at, left = self._home(keys), np.arange(len(keys))
        while len(left):
            free = self._keys[at] == NONE
            # Where several want one free slot the last writes it; the others go on.
            self._keys[at[free]] = keys[left[free]]
            got = self._keys[at] == keys[left]
            self._values[at[got]] = values[left[got]]
            left, at = left[~got], (at[~got] + 1) & (len(self._keys) - 1)

    def _home(self, keys: np.ndarray) -> np.ndarray:
        mixed = keys.astype(np.uint64) * MULTIPLIER
        return ((mixed ^ (mixed >> np.uint64(32))) & np.uint64(len(self._keys) - 1)).astype(
            np.int64
        )
