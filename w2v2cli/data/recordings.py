"""Recordings by index, as training reads them: from files of their own, or from shards that hold thousands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Recordings(Protocol):
    """Many recordings whose lengths are known before any is read."""

    @property
    def ids(self) -> Sequence[str]:
        """The name of each."""

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64: samples of each at 16 kHz."""

    @property
    def texts(self) -> Sequence[str | None]:
        """What is said in each, None where nobody wrote it down."""

    @property
    def shards(self) -> np.ndarray | None:
        """(N,) int64: the shard each lies in, so that an epoch can read them one shard after the other; None for files."""

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """`samples` samples of recording `index` from `start` on, to its end by default: (S,) float32, mono, 16 kHz."""
