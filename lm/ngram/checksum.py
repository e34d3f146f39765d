"""The checksum in the header of an automaton's file: a damaged file is told from a whole one."""

from __future__ import annotations

import zlib
from pathlib import Path

from storage.hashing import remembered_check

PLACE = 76  # of the checksum in the file, in bytes: `checksum` of `Header` in lm/native/automaton.h
WIDTH = 4  # bytes
BLOCK = 1 << 22  # bytes read at a time


def stamp(path: Path) -> None:
    """Write the checksum into a new file. Raises OSError."""
    value = _of_content(path)
    with path.open("r+b") as file:
        file.seek(PLACE)
        file.write(value)


def is_whole(path: Path) -> bool:
    """Whether the checksum holds. A large file that has not changed is not read again.

    Raises OSError.
    """
    return remembered_check(path, _holds)


def _holds(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(PLACE)
        written = file.read(WIDTH)
    return written == _of_content(path)


def _of_content(path: Path) -> bytes:
    """CRC-32 of a file without the bytes of the checksum itself."""
    with path.open("rb") as file:
        value = zlib.crc32(file.read(PLACE))
        file.seek(PLACE + WIDTH)
        while block := file.read(BLOCK):
            value = zlib.crc32(block, value)
    return value.to_bytes(WIDTH, "little")
