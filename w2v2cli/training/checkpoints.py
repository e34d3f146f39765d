"""The state a run continues from: written whole, checked by its hash, the last few kept.

A file's name ends in the first digits of the SHA-256 of its content, so reading it tells whether it
still is what was written. A state is copied to the host and written by a thread, while training
goes on.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from storage.hashing import file_hash
from storage.whole import remove_unfinished, whole_file
from w2v2cli.errors import UserError

NAME = re.compile(r"state-\d+-[0-9a-f]{16}\.pt")
UNNAMED = re.compile(r"state-\d+\.pt")  # whole, but killed before its hash came into the name
DIGITS = 16  # of the SHA-256 in a name


@dataclass
class Position:
    """Where in the run and in the data the next update begins."""

    update: int = 0
    """Updates done."""
    epoch: int = 0
    """Epoch the next batch belongs to."""
    batch: int = 0
    """Micro-batches of that epoch already used, by all ranks together."""
    amount: float = 0.0
    """Seconds of audio, or words of text, used so far."""


class StateError(UserError):
    """A run's folder holds no state it can continue from."""


class StateFolder:
    """The states of one run, `state-UPDATE-HASH.pt`; the newest `keep` of them stay."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(self, state: dict[str, Any], update: int) -> Path:
        """Write a state and remove those too old to keep.

        Raises OSError (a full disk); the older states then stay untouched.
        """
        unnamed = self.folder / f"state-{update:08d}.pt"
        with whole_file(unnamed) as beside, beside.open("wb") as file:
            hashed = _HashingFile(file)
            try:
                torch.save(state, hashed)  # type: ignore[arg-type] # it only asks for write()
            except RuntimeError:
                # torch reports that its file broke, not the error that broke it.
                if hashed.error is not None:
                    raise hashed.error from None
                raise
        path = self.folder / f"{unnamed.stem}-{hashed.digest}.pt"
        os.replace(unnamed, path)
        for old in self.found()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def found(self) -> list[Path]:
        """Return the states in the folder, newest first, damaged ones included."""
        paths = [path for path in self.folder.glob("state-*.pt") if NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: path.name, reverse=True)

    def load(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest undamaged state, None where there is no state at all.

        warn: receives a sentence for each damaged state that is passed over. Raises StateError when
        all of them are damaged.
        """
        found = self.found()
        for path in found:
            if path.stem.endswith(file_hash(path)[:DIGITS]):
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            warn(
                f"{path} is damaged (its content does not have the hash in its name): "
                "trying the state before it."
            )
        if found:
            raise StateError(
                f"All {len(found)} states in {self.folder} are damaged: move them away to start "
                "again from the beginning."
            )
        return None

    def tidy(self) -> None:
        """Remove what killed processes left unfinished."""
        remove_unfinished(self.folder, "state-")
        for path in self.folder.glob("state-*.pt"):
            if UNNAMED.fullmatch(path.name):
                path.unlink(missing_ok=True)


class StateWriter:
    """Writes the states of one run in a thread; one at a time."""

    def __init__(self, states: StateFolder) -> None:
        self._states = states
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._written: Future[Path] | None = None
        self.update = 0
        """Updates done in the state that was begun last."""

    def begin(self, state: dict[str, Any], update: int) -> None:
        """Copy a state and begin to write it; `finish` what was begun before.

        The state may change as soon as this returns; on a GPU it may be given work that changes it.
        """
        assert self._written is None, "a state is being written"
        copied, there = copied_to_host(state)
        self.update = update
        self._written = self._threads.submit(self._save, copied, there, update)

    def _save(self, state: dict[str, Any], there: Callable[[], None], update: int) -> Path:
        there()
        return self._states.save(state, update)

    @property
    def ready(self) -> bool:
        """Whether `finish` has something to tell and waits for nothing."""
        return self._written is not None and self._written.done()

    def finish(self) -> None:
        """Wait until the state that was begun is written. Raises what `StateFolder.save` raises."""
        written, self._written = self._written, None
        if written is not None:
            written.result()


def copied_to_host(state: Any) -> tuple[Any, Callable[[], None]]:
    """Copy dicts and lists with all their tensors; return them, and what waits for their content.

    Tensors that share memory share it in the copy too. From a GPU they are copied to page-locked
    memory, in the order of its work and without waiting for it.
    """
    memory: dict[tuple[str, int], Tensor] = {}
    copied = _copied(state, memory)
    if not any(kind == "cuda" for kind, _ in memory):
        return copied, lambda: None
    done = torch.cuda.Event()
    done.record()
    return copied, done.synchronize


def _copied(value: Any, memory: dict[tuple[str, int], Tensor]) -> Any:
    """Copy nested dicts and lists of tensors; memory: the copy of each storage, by its place."""
    if isinstance(value, Mapping):
        made = copy.copy(value)  # with the attributes that torch gives to a network's weights
        for name, inner in value.items():
            made[name] = _copied(inner, memory)  # type: ignore[index] # dicts, all of them
        return made
    if isinstance(value, list):
        return [_copied(inner, memory) for inner in value]
    if not isinstance(value, Tensor):
        return value
    whole = torch.empty(0, dtype=torch.uint8, device=value.device).set_(value.untyped_storage())
    kind, place = value.device.type, whole.data_ptr()
    if (kind, place) not in memory:
        host = torch.empty(whole.shape, dtype=torch.uint8, pin_memory=kind == "cuda")
        memory[kind, place] = host.copy_(whole, non_blocking=True)
    storage = memory[kind, place].untyped_storage()
    return torch.empty(0, dtype=value.dtype).set_(
        storage, value.storage_offset(), value.shape, value.stride()
    )


class _HashingFile(io.RawIOBase):
    """A file written from front to back, and hashed meanwhile."""

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
        return self._hash.hexdigest()[:DIGITS]
