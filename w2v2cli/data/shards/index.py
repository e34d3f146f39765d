"""The index of a WebDataset shard: lengths are known and parts are read without a pass over it.

A shard is a tar whose members `KEY.flac` and `KEY.json` belong together; KEY is the name up to its
first dot. Beside `NAME.tar` lies `NAME.tar.index`, a safetensors file; docs/data.md lists what is
in it. Shapes: N recordings.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from storage.json_text import parsed
from storage.whole import write_whole
from w2v2cli.data.audio import SUFFIXES, VIDEOS
from w2v2cli.data.loading.flat import Strings, Texts
from w2v2cli.errors import UserError

VERSION = "1"
LARGEST_TEXT = 1 << 20  # bytes of a .json or .txt that are read: a transcript is shorter
Fields = dict[str, tarfile.TarInfo]  # the members of one key, by what follows its first dot


class ShardError(UserError):
    """A shard, or a recording in it, that cannot be read."""


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The recordings of one shard."""

    offsets: np.ndarray
    """(N,) int64: byte of the tar at which each recording begins, after its header."""
    sizes: np.ndarray
    """(N,) int64: bytes of each."""
    samples: np.ndarray
    """(N,) int64: length of each at 16 kHz; 0 for one in a foreign shard that cannot be read."""
    members: Strings
    """Name of each in the tar."""
    ids: Strings
    texts: Texts
    bytes: int
    """Size of the tar."""
    made_from: str = ""
    """Digest of the recordings that `w2v2 data shard` was to pack; empty for a foreign shard."""
    set_size: int = 0
    """Number of shards in the set; 0 where it is unknown."""
    failures: Sequence[str] = ()
    """A sentence for each recording that is missing because it could not be read."""
    speakers: Texts | None = None
    """Speaker of each; None for an index of before they were kept."""

    def write(self, path: Path) -> None:
        """Write the index, whole or not at all. Raises OSError."""
        tensors = {
            "offsets": self.offsets,
            "sizes": self.sizes,
            "samples": self.samples,
            "present": self.texts.present,
        }
        strings = {"member": self.members, "id": self.ids, "text": self.texts.strings}
        for name, values in (strings | {"failure": Strings.of(self.failures)}).items():
            tensors |= {f"{name}.blob": values.blob, f"{name}.ends": values.ends}
        if self.speakers is not None:
            names = self.speakers.strings
            tensors |= {"speaker.blob": names.blob, "speaker.ends": names.ends}
            tensors["speaker.present"] = self.speakers.present
        facts = {
            "version": VERSION,
            "bytes": self.bytes,
            "made_from": self.made_from,
            "of": self.set_size,
        }
        # One key alone: safetensors writes several in any order, and equal indexes should be equal
        # files.
        write_whole(path, save(tensors, {"shard": json.dumps(facts)}))

    @classmethod
    def read(cls, path: Path) -> ShardIndex:
        """Read an index. Raises ShardError for a damaged one, FileNotFoundError for none."""
        try:
            with safe_open(path, "np") as file:
                facts = parsed((file.metadata() or {})["shard"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["version"] != VERSION:
                raise ShardError(
                    f"{path} has version {facts['version']} of the format, not {VERSION}: "
                    "delete it, and it is made again."
                )
            members, ids, texts, failures = (
                Strings(tensors[f"{name}.blob"], tensors[f"{name}.ends"])
                for name in ("member", "id", "text", "failure")
            )
            speakers = None
            if "speaker.blob" in tensors:
                names = Strings(tensors["speaker.blob"], tensors["speaker.ends"])
                speakers = Texts(names, tensors["speaker.present"])
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
                speakers,
            )
        except (SafetensorError, KeyError, ValueError):
            raise ShardError(
                f"{path} is damaged or not the index of a shard: delete it, and it is made again."
            ) from None


def index_path(shard: Path) -> Path:
    """The path of a shard's index."""
    return shard.with_name(f"{shard.name}.index")


def split_name(name: str) -> tuple[str, str]:
    """The key and the field of a member: webdataset splits at the file name's first dot."""
    folder, slash, file = name.rpartition("/")
    key, _, field = file.partition(".")
    return folder + slash + key, field


def list_members(shard: Path, file: IO[bytes]) -> dict[str, Fields]:
    """The members of a tar by key and field, in its order.

    Raises ShardError for a tar that is damaged or cut short.
    """
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
    """The recording among the members of one key; None where there is none."""
    found = {f".{name.rpartition('.')[2]}": info for name, info in reversed(fields.items())}
    suffixes = [suffix for suffix in reversed(found) if suffix in SUFFIXES]
    suffixes.sort(key=VIDEOS.__contains__)  # sound beside a video is meant to be heard
    return found[suffixes[0]] if suffixes else None


def described(key: str, fields: Fields, file: IO[bytes]) -> tuple[str, str | None, str | None]:
    """Id, text and speaker of a recording, from its .json or .txt; the key is the default id."""
    row: dict[str, Any] = {}
    text = None
    if info := fields.get("json"):
        try:
            loaded = parsed(_content(info, file))
            row = loaded if isinstance(loaded, dict) else {}
        except ValueError:
            pass  # a foreign .json of another form: the recording can do without
    if info := fields.get("txt"):
        text = _content(info, file).decode(errors="replace").strip()
    text = row.get("text", text)
    speaker = row.get("speaker")
    return (
        str(row.get("id", key)),
        text if isinstance(text, str) else None,
        str(speaker) if isinstance(speaker, str | int) else None,
    )


def _content(info: tarfile.TarInfo, file: IO[bytes]) -> bytes:
    file.seek(info.offset_data)
    return file.read(min(info.size, LARGEST_TEXT))
