"""Recordings: files of silence, and a corpus of noise in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SHORTEST = 16_000  # samples, a second


def recording(path: Path) -> Path:
    """Write 0.1 s of silence at 16 kHz, in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(1600), 16_000)
    return path


class Spoken:
    """Recordings whose samples only their index decides; they are of three lengths."""

    shards = None

    def __init__(self, texts: Sequence[str] = ("NO", "A CAT") * 8, longer: int = 800) -> None:
        """longer: samples by which each of the three lengths exceeds the one before."""
        self.texts = list(texts)
        self.ids = [f"r{i}" for i in range(len(self.texts))]
        self.lengths = np.array([SHORTEST + longer * (i % 3) for i in range(len(self.texts))])

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Samples of one recording from `start` on: (samples,) float32, by default all."""
        noise = np.random.default_rng(index).standard_normal(int(self.lengths[index]))
        return noise.astype(np.float32)[start : None if samples is None else start + samples]
