"""Hashes that identify models, language models and corpora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.importers.languages import adapter_path
from storage.hashing import hash_of, remembered_hash
from w2v2cli.data.decoding.tables import TableError, source_hash
from w2v2cli.data.hub import WEIGHTS, wanted_files
from w2v2cli.data.locations import SMALL_FILES
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

WEIGHT_SUFFIXES = tuple(Path(name).suffix for name in WEIGHTS)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises UserError when it cannot be read."""
    try:
        return remembered_hash(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def model_hash(path: Path, language: str | None = None) -> str:
    """Hash of an acoustic or language model: its file, or its folder's weights and settings.

    language: one of a model with an adapter for each.
    """
    if path.is_file():
        return content_hash(path)
    weights = [path / name for name in WEIGHTS if (path / name).is_file()][:1]
    if not weights:  # split into several files
        weights = sorted(file for file in path.glob("*-of-*") if file.suffix in WEIGHT_SUFFIXES)
    names = dict.fromkeys((*SMALL_FILES, *wanted_files()))  # everything that decides what is heard
    files = [*weights, *(path / name for name in names if (path / name).is_file())]
    spoken = []
    if language is not None:
        spoken = [f"language {language}"]
        adapter = adapter_path(path, language)
        files += [] if adapter is None else [adapter]
    return hash_of(*(f"{file.name} {content_hash(file)}" for file in files), *spoken)


def corpus_hash(utterances: Sequence[Utterance]) -> str:
    """Hash of the recordings in order and of their ids; transcripts do not count."""
    return hash_of(
        *(f"{u.id} {_audio_hash(u.path)} {u.start} {u.samples or ''}".rstrip() for u in utterances)
    )


def _audio_hash(path: Path) -> str:
    try:
        return source_hash(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    except TableError as error:
        return f"unreadable: {error}"
