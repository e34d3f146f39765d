"""Files that one process appends lines of JSON to while others read them; a lock shows its life.

The writer holds a lock (flock) on its file for as long as it lives. A free lock on a file without
the closing line means that the writer has died. Readers take whole lines only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.whole import locked_file
from w2v2cli.errors import UserError

Json = dict[str, Any]

END: Json = {"end": True}  # the closing line


class RankFile:
    """A file that this process appends lines to, and holds the lock of until `close`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def begin(cls, path: Path, content: str = "") -> RankFile:
        """Create the file. It is locked before it appears under its name. Raises UserError."""
        try:
            return cls(path, locked_file(path, content.encode()))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line. Raises UserError."""
        try:
            self._append((json.dumps(line) + "\n").encode())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}.") from None

    def end(self) -> None:
        """Append the closing line: this process has done all of its share."""
        self.write(END)

    def _append(self, line: bytes) -> None:
        while line:  # one call may write a part of it
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


class Incoming:
    """The file of another rank, read while it grows."""

    def __init__(self, path: Path, rank: int = 0) -> None:
        self.path, self.rank = path, rank
        self.complete = False
        """Whether the closing line has been read."""
        self._at = 0  # bytes read so far

    def lines(self) -> list[Json]:
        """The whole lines that were added since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._at += len(whole)
        lines = [json.loads(line) for line in whole.splitlines()]
        self.complete = self.complete or END in lines
        return [line for line in lines if line != END]

    def alive(self) -> bool:
        """Whether the writer holds its lock."""
        return is_locked(self.path)

    def may_grow(self, deadline: float) -> bool:
        """Whether more lines may come: the writer lives, or may yet begin before `deadline`.

        deadline: a value of `time.monotonic()`.
        """
        if self.complete:
            return False
        return self.alive() or (not self.path.exists() and time.monotonic() < deadline)


def leftover_lines(folder: Path) -> list[Json]:
    """The lines of earlier runs that were killed before their files were merged."""
    paths = sorted(path for path in folder.glob("*.jsonl") if not is_locked(path))
    return [line for path in paths for line in Incoming(path).lines()]


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file; False where there is no such file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
