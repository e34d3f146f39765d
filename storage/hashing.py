"""SHA-256 of files, remembered for large ones."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from storage.home import home
from storage.whole import write_whole

BLOCK = 1 << 20  # bytes read at a time
REMEMBERED = 1 << 20  # bytes; hashing a smaller file is as fast as looking its hash up


def hash_of(*lines: str) -> str:
    """SHA-256 of lines of text in order, in hexadecimal."""
    return _digest(line.encode() + b"\n" for line in lines)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, read now. Raises OSError."""
    with path.open("rb") as file:
        return _digest(iter(lambda: file.read(BLOCK), b""))


def remembered_hash(path: Path) -> str:
    """SHA-256 of a file's content; a large file whose size and time are unchanged is not read again.

    Hashes are kept in `$W2V2_HOME/hashes`, one small file each, so that processes cannot disturb
    each other. Raises OSError when `path` cannot be read.
    """
    status = path.stat()
    if status.st_size < REMEMBERED:
        return file_hash(path)
    key = hash_of(f"{path.resolve()}", f"{status.st_size}", f"{status.st_mtime_ns}")
    note = home() / "hashes" / key
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if len(known := note.read_text()) == 64:
            return known
    digest = file_hash(path)
    with contextlib.suppress(OSError):  # it only saves time: a full disk is no reason to fail
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, digest)
    return digest


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
