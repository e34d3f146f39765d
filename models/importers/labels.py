"""The labels of a checkpoint's outputs, read without torch so that search processes start soon."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from models.importers.languages import adapter_path
from models.importers.tokenizer import LabelsError, huggingface_outputs
from storage.json_text import parsed

STANDARD = tuple(
    "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
)
# torchaudio's bundles (wav2vec2 ASR, 29 outputs)
TORCHAUDIO = tuple("- | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split())
LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself


def quick_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of our own file or of a Hugging Face folder.

    None where only the whole checkpoint tells them, or where its reader says what is wrong.
    """
    outputs = quick_outputs(path)
    return None if outputs is None else outputs[0]


def quick_outputs(
    path: Path, language: str | None = None
) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """`quick_labels`, with what the checkpoint's metadata says of them.

    language: one of a model with an adapter for each (see `languages`).
    """
    try:
        if path.is_dir():
            if not (path / "vocab.json").is_file():
                return None
            return _folder_outputs(path, language)
        if language is not None:
            return None
        header = _own_header(path)
    except (LabelsError, OSError):
        return None
    if header is None or header.get("labels") is None or "format_version" not in header:
        return None  # of a damaged header, the reader of the whole file says what is wrong
    return tuple(header["labels"]), header.get("metadata") or {}


def _folder_outputs(
    folder: Path, language: str | None
) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """None where only the whole adapter tells how many outputs a language has."""
    adapter = None if language is None else adapter_path(folder, language)
    if adapter is None:
        return huggingface_outputs(folder, language)
    header = _header(adapter)
    if header is None:
        return None
    try:
        count = int(header["lm_head.weight"]["shape"][0])
    except (KeyError, TypeError, IndexError, ValueError):
        return None
    return huggingface_outputs(folder, language, count)


def _own_header(path: Path) -> dict[str, Any] | None:
    """The JSON object in the header of our own file; None for every other file."""
    header = _header(path)
    try:
        own = parsed((header or {})["__metadata__"]["w2v2"])
    except (ValueError, KeyError, TypeError):
        return None
    return own if isinstance(own, dict) else None


def _header(path: Path) -> dict[str, Any] | None:
    """The header of a safetensors file; None for every other file."""
    if path.suffix != ".safetensors":
        return None
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else LONGEST_HEADER
        if length >= LONGEST_HEADER:
            return None
        try:
            header = parsed(file.read(length))
        except ValueError:
            return None
    return header if isinstance(header, dict) else None
