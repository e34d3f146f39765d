"""Pointers of Git LFS: small texts that stand for large files in a clone made without them."""

from __future__ import annotations

from pathlib import Path

BEGINNING = b"version https://git-lfs."
NOT_FETCHED = "is a Git LFS pointer to a file that was not fetched: run `git lfs pull` where it is"


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False
