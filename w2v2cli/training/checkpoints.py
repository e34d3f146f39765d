"""What a run needs to go on as if it had never stopped: files written beside, hashed and renamed, the last few kept.

A file's name ends in the first digits of its SHA-256. So one rename makes it appear whole, and reading can tell whether
it still is what was written.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from w2v2cli.errors import UserError

NAME = re.compile(r"state-\d+-[0-9a-f]{16}\.pt")
CHUNK = 1 << 22  # bytes


@dataclass
class Position:
    """Where in the run and in the data the next update stands."""

    update: int = 0
    """Updates done."""
    epoch: int = 0
    """Epoch the next batch belongs to."""
    batch: int = 0
    """Micro-batches of that epoch already used, by all ranks together."""
    amount: float = 0.0
    """Seconds of audio, or words of text, that have been learned from."""


class StateError(UserError):
    """A run that cannot go on from what its folder holds."""


class StateFolder:
    """The states of one run, `state-UPDATE-HASH.pt`, the last `keep` of them."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(self, state: dict[str, Any], update: int) -> Path:
        """Write a state and drop those too old to keep; on OSError (a full disk) the older ones stay untouched."""
        beside = self.folder / f".state-{update:08d}.{os.getpid()}.part"
        try:
            with beside.open("wb") as file:
                hashed = _Hashing(file)
                try:
                    torch.save(state, hashed)  # type: ignore[arg-type] # it only asks for write()
                except RuntimeError:
                    if (
                        hashed.error is not None
                    ):  # torch says that its file is broken, not what broke it
                        raise hashed.error from None
                    raise
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"state-{update:08d}-{hashed.digest}.pt"
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        for old in self.found()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def found(self) -> list[Path]:
        """The states that lie there, newest first, whole or not."""
        paths = [path for path in self.folder.glob("state-*.pt") if NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: path.name, reverse=True)

    def load(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest state that is whole, None where there is none at all.

        warn: hears of each damaged one that is passed over. StateError when every one is damaged.
        """
        found = self.found()
        for path in found:
            if path.stem.endswith(_digest_of(path)):
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            warn(
                f"{path} is damaged (its content does not have the hash in its name): the state before it is tried."
            )
        if found:
            raise StateError(
                f"All {len(found)} states in {self.folder} are damaged: move them away to begin anew."
            )
        return None

    def tidy(self) -> None:
        """Drop what a killed process left half written."""
        for left in self.folder.glob(".state-*.part"):
            left.unlink(missing_ok=True)


class _Hashing(io.RawIOBase):
    """A file that is only written to from front to back, hashed as it goes."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._hash.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    @property
    def digest(self) -> str:
        return _short_digest(self._hash)


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return _short_digest(digest)


def _short_digest(digest: Any) -> str:
    short: str = digest.hexdigest()[:16]
    return short
