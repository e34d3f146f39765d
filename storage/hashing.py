"""SHA-256 of files, remembered for large ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from storage.home import home
from storage.whole import write_whole

BLOCK = 1 << 20  # bytes read at a time
HELD = "checked"  # what the note of a check that held says
REMEMBERED = 1 << 20  # bytes; hashing a smaller file is as fast as looking its hash up


def hash_of(*lines: str) -> str:
    """SHA-256 of lines of text in order, in hexadecimal; a line may be any file name."""
    return _digest(os.fsencode(line) + b"\n" for line in lines)


def bytes_hash(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return _digest([content])


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, read now. Raises OSError."""
    with path.open("rb") as file:
        return _digest(iter(lambda: file.read(BLOCK), b""))


def remembered_hash(path: Path) -> str:
    """SHA-256 of a file's content; a large file that has not changed is not read again.

    A file counts as changed when its path, inode, size or one of its times (content, status) has
    changed: the last also catches a file that was copied with the time of another.

    Hashes are kept in `$W2V2_HOME/hashes`, one small file each, so that processes cannot disturb
    each other. A folder that cannot be written to only costs time. Raises OSError when `path`
    cannot be read.
    """
    if path.stat().st_size < REMEMBERED:
        return file_hash(path)
    key = _identity(path)
    note = home() / "hashes" / key
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{64}", known := note.read_text()):
            return known
    digest = file_hash(path)
    if _identity(path) == key:  # otherwise it was written to while it was read
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_whole(note, digest)
    return digest


def remembered_check(path: Path, check: Callable[[Path], bool]) -> bool:
    """Whether `check` holds for a file; a large file that has not changed is not checked again.

    A file counts as changed when its path, inode, size or time of content has changed. Unlike
    `remembered_hash` this leaves out the time of status, which a noted read changes. Notes are kept
    as those of hashes are, and only of checks that held. Raises OSError as `check` does.
    """
    status = path.stat()
    if status.st_size < REMEMBERED:
        return check(path)
    numbers = (status.st_ino, status.st_size, status.st_mtime_ns)
    note = home() / "hashes" / hash_of(HELD, str(path.resolve()), *map(str, numbers))
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if note.read_text() == HELD:
            return True
    if not check(path):
        return False
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, HELD)
    return True


def _identity(path: Path) -> str:
    status = path.stat()
    numbers = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hash_of(str(path.resolve()), *map(str, numbers))


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
