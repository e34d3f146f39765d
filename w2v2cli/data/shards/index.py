"""What lies where in a WebDataset shard: known beforehand, so that lengths are told and parts read without a scan.

A shard is a tar whose members `KEY.flac` and `KEY.json` belong together, KEY being the name up to its first dot. Beside
`NAME.tar` lies `NAME.tar.index`, a safetensors file. Shapes: N recordings.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from w2v2cli.data.audio import SUFFIXES
from w2v2cli.errors import UserError

VERSION = "1"
LARGEST_NOTE = 1 << 20  # bytes of a .json or .txt; what is longer is no transcript
Fields = dict[str, tarfile.TarInfo]


class ShardError(UserError):
    """A shard, or a recording in it, that cannot be read."""


class Strings(Sequence[str]):
    """Many strings in one block of memory: four million ids are 100 MB less than as objects, and sent at once."""

    def __init__(self, blob: np.ndarray, ends: np.ndarray) -> None:
        self.blob = blob
        """(bytes,) uint8, UTF-8."""
        self.ends = ends
        """(N + 1,) int64: where each begins and ends."""

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """Those of any collection."""
        encoded = [string.encode() for string in strings]
        ends = np.concatenate(
            [[0], np.cumsum([len(string) for string in encoded], dtype=np.int64)]
        ).astype(np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    @classmethod
    def joined(cls, parts: Sequence[Strings]) -> Strings:
        """All of several, one after the other."""
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
        return self.blob[self.ends[at] : self.ends[at + 1]].tobytes().decode()


class Texts(Sequence[str | None]):
    """Strings of which some are missing."""

    def __init__(self, strings: Strings, present: np.ndarray) -> None:
        self.strings = strings
        self.present = present
        """(N,) bool."""

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Texts:
        """Those of any sequence."""
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


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The recordings of one shard."""

    offsets: np.ndarray
    """(N,) int64: the first byte of each in the tar."""
    sizes: np.ndarray
    """(N,) int64 bytes."""
    samples: np.ndarray
    """(N,) int64 at 16 kHz; 0 for a recording of somebody else's shard that cannot be read."""
    members: Strings
    ids: Strings
    texts: Texts
    bytes: int
    """The size of the tar."""
    made_from: str = ""
    """A digest of what `w2v2 data shard` was to put in; empty for a shard of somebody else."""
    of: int = 0
    """How many shards the set has; 0 where nobody knows."""
    failures: Sequence[str] = ()
    """Why recordings that belong here are missing."""

    def write(self, path: Path) -> None:
        """Write to a file beside, which then takes the name."""
        tensors = {
            "offsets": self.offsets,
            "sizes": self.sizes,
            "samples": self.samples,
            "present": self.texts.present,
        }
        strings = {"member": self.members, "id": self.ids, "text": self.texts.strings}
        for name, values in (strings | {"failure": Strings.of(self.failures)}).items():
            tensors |= {f"{name}.blob": values.blob, f"{name}.ends": values.ends}
        facts = {
            "version": VERSION,
            "bytes": self.bytes,
            "made_from": self.made_from,
            "of": self.of,
        }
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            beside.write_bytes(
                save(tensors, {"shard": json.dumps(facts)})
            )  # several would come in any order
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> ShardIndex:
        """ShardError when the file is no index; FileNotFoundError when there is none."""
        try:
            with safe_open(path, "np") as file:
                facts = json.loads((file.metadata() or {})["shard"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["version"] != VERSION:
                raise ShardError(
                    f"{path} is of version {facts['version']}, {VERSION} is known: delete it."
                )
            members, ids, texts, failures = (
                Strings(tensors[f"{name}.blob"], tensors[f"{name}.ends"])
                for name in ("member", "id", "text", "failure")
            )
            return cls(
                tensors["offsets"],
                tensors["sizes"],
                tensors["samples"],
                members,
                ids,
                Texts(texts, tensors["present"]),
                facts["bytes"],
                facts["made_from"],
                facts["of"],
                failures,
            )
        except (SafetensorError, KeyError, ValueError):
            raise ShardError(
                f"{path} is damaged or no index of a shard: delete it, and it is made again."
            ) from None


def index_path(shard: Path) -> Path:
    """Where a shard's index lies."""
    return shard.with_name(f"{shard.name}.index")


def split_name(name: str) -> tuple[str, str]:
    """Key and field of a member: webdataset cuts at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, field = file.partition(".")
    return folder + slash + key, field


def list_members(shard: Path, file: IO[bytes]) -> dict[str, Fields]:
    """The members of a tar by key and field, in its order; ShardError when it does not read to its end."""
    found: dict[str, Fields] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                key, field = split_name(info.name)
                if info.isreg() and key.rpartition("/")[2]:
                    found.setdefault(key, {})[field.lower()] = info
            end = tar.offset
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"no member begins at byte {end}")
    except (tarfile.TarError, EOFError) as error:
        last = next(reversed(found), None)
        after = f"after {last}" if last else "at its beginning"
        raise ShardError(f"{shard} is damaged or cut short {after}: {error}.") from None
    return found


def audio_of(fields: Fields) -> tarfile.TarInfo | None:
    """The recording among the members of one key."""
    return next(
        (info for name, info in fields.items() if f".{name.rpartition('.')[2]}" in SUFFIXES), None
    )


def described(key: str, fields: Fields, file: IO[bytes]) -> tuple[str, str | None]:
    """Id and text of a recording, from its .json or .txt."""
    row: dict[str, Any] = {}
    text = None
    if info := fields.get("json"):
        try:
            loaded = json.loads(_content(info, file))
            row = loaded if isinstance(loaded, dict) else {}
        except ValueError:
            pass  # somebody else's note in another form: the recording is as good without
    if info := fields.get("txt"):
        text = _content(info, file).decode(errors="replace").strip()
    said = row.get("text", text)
    return str(row.get("id", key)), said if isinstance(said, str) else None


def _content(info: tarfile.TarInfo, file: IO[bytes]) -> bytes:
    file.seek(info.offset_data)
    return file.read(min(info.size, LARGEST_NOTE))
