"""Many strings or rows of numbers in a few arrays, which travel to a process in one piece.

Four million ids take 100 MB less than as objects, and are sent in milliseconds.

Shapes: N strings or rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class Strings(Sequence[str]):
    """Many strings in one block of memory."""

    def __init__(self, blob: np.ndarray, ends: np.ndarray) -> None:
        self.blob = blob
        """(bytes,) uint8, UTF-8."""
        self.ends = ends
        """(N + 1,) int64: each string begins at its entry and ends at the next."""

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """Encode the strings of any collection; names of files outside UTF-8 keep their bytes."""
        encoded = [string.encode(errors="surrogateescape") for string in strings]
        blob = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(blob, _ends(len(string) for string in encoded))

    @classmethod
    def joined(cls, parts: Sequence[Strings]) -> Strings:
        """Concatenate several collections."""
        before = np.cumsum([0, *(len(part.blob) for part in parts)])
        ends = [part.ends[1:] + start for part, start in zip(parts, before[:-1], strict=True)]
        blobs = [part.blob for part in parts]
        return cls(
            np.concatenate([np.zeros(0, np.uint8), *blobs]),
            np.concatenate([np.zeros(1, np.int64), *ends]),
        )

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[index]
        string = self.blob[self.ends[at] : self.ends[at + 1]].tobytes()
        return string.decode(errors="surrogateescape")


class Texts(Sequence[str | None]):
    """Strings of which some are None."""

    def __init__(self, strings: Strings, present: np.ndarray) -> None:
        self.strings = strings
        """All N; empty where None is meant."""
        self.present = present
        """(N,) bool: False where None is meant."""

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Texts:
        """Encode the texts of any sequence."""
        return cls(
            Strings.of(text or "" for text in texts),
            np.array([text is not None for text in texts], bool),
        )

    def __len__(self) -> int:
        return len(self.strings)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self.strings[index] if self.present[index] else None


class Rows:
    """Many rows of whole numbers, such as the label ids of each utterance."""

    def __init__(self, numbers: np.ndarray, ends: np.ndarray) -> None:
        self.numbers = numbers
        """The numbers of all rows, one after the other: int32."""
        self.ends = ends
        """(N + 1,) int64: each row begins at its entry and ends at the next."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Rows:
        """Put the rows of any sequence one after the other."""
        return cls(
            np.array([number for row in rows for number in row], np.int32),
            _ends(len(row) for row in rows),
        )

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """The numbers of one row, int64."""
        return self.numbers[self.ends[index] : self.ends[index + 1]].astype(np.int64)


def _ends(lengths: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)
