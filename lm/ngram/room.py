"""What the file of an automaton will take, told before it is made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lm.ngram.arpa import read_counts
from lm.ngram.kenlm_binary import is_binary, read_header
from lm.ngram.layout import LINE, slots_for

LETTERS = 10  # bytes of a word, about
FULLEST = 1 << 20  # slots of a hash table before it first grows


@dataclass(frozen=True)
class Room:
    """Bytes that an automaton takes on disk, and in memory while it is made."""

    arpa: Path
    folder: Path
    """Where its file will be."""
    ngrams: int
    disk: int
    memory: int
    free: int
    """Bytes left on the disk of `folder`."""


def room_for(arpa: Path, folder: Path) -> Room:
    """What the automaton of a file of n-grams will take. Raises ValueError, OSError.

    The size of the file is right to the letters of its words. Memory counts the hash table twice
    where it grows, for it is copied into one twice as large.
    """
    counts = list(read_header(arpa).counts) if is_binary(arpa) else read_counts(arpa)
    slots, words, states = slots_for(sum(counts) + 1), counts[0] + 1, 2 + sum(counts[:-1])
    if len(counts) == 1:
        states = 2 + counts[0]
    text = words * (8 + LETTERS) + 4 * slots_for(words + 1)
    disk = slots * 16 + states * 8 + text + 7 * LINE
    grown = slots * 16 // 2 if slots > FULLEST else 0
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Room(
        arpa,
        folder,
        sum(counts),
        disk,
        slots * 16 + grown + states * 16 + text,
        shutil.disk_usage(existing).free,
    )
