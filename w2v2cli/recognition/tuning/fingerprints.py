"""Hashes that say whether a model, a language model or a corpus is the one that something was made with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from storage.home import home
from w2v2cli.data.locations import SMALL_FILES, WEIGHTS
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

SMALL = 1 << 20  # bytes; hashes of larger files are remembered, by size and time of change


def file_hash(path: Path) -> str:
    """The SHA-256 of a file; UserError when it cannot be read."""
    try:
        stat = path.stat()
        key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        known = _remembered() if stat.st_size > SMALL else {}
        if key in known:
            return known[key]
        with path.open("rb") as file:
            digest = _digest(iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if stat.st_size > SMALL:
        _remember(key, digest)
    return digest


def model_hash(path: Path) -> str:
    """Of an acoustic model: its file, or what counts in its folder."""
    if path.is_file():
        return file_hash(path)
    weights = [path / name for name in WEIGHTS if (path / name).is_file()][:1]
    files = [*weights, *(path / name for name in SMALL_FILES if (path / name).is_file())]
    return text_hash(*(f"{file.name} {file_hash(file)}" for file in files))


def corpus_hash(utterances: Sequence[Utterance]) -> str:
    """Of the recordings, in order, and what they are called; their transcripts do not count."""
    return text_hash(
        *(f"{u.id} {_audio_hash(u.path)} {u.start} {u.samples or ''}".rstrip() for u in utterances)
    )


def text_hash(*lines: str) -> str:
    """Of strings in order."""
    return _digest(line.encode() + b"\n" for line in lines)


def _audio_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _memory() -> Path:
    return home() / "hashes.json"


def _remembered() -> dict[str, str]:
    try:
        known = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(key: str, digest: str) -> None:
    """Only to save time: where the store cannot be written, the next call computes it again."""
    beside = _memory().with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        _memory().parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({**_remembered(), key: digest}), encoding="utf-8")
        beside.replace(_memory())
