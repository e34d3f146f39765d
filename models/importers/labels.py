"""The labels of a checkpoint's outputs, read without torch so that search processes start soon."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

STANDARD = tuple(
    "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
)
# torchaudio's bundles (wav2vec2 ASR, 29 outputs)
TORCHAUDIO = tuple("- | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split())
LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
MOST_LABELS = 1_000_000  # a larger number is damage, not a label


class LabelsError(ValueError):
    """A vocabulary file that is damaged."""


def quick_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of our own file or of a Hugging Face folder.

    None where only the whole checkpoint tells them, or where its reader says what is wrong.
    """
    outputs = quick_outputs(path)
    return None if outputs is None else outputs[0]


def quick_outputs(path: Path) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """`quick_labels`, with the metadata of our own file (see `Checkpoint.metadata`)."""
    try:
        if path.is_dir():
            return (huggingface_labels(path), {}) if (path / "vocab.json").is_file() else None
        header = _own_header(path)
    except (LabelsError, OSError):
        return None
    if header is None or header.get("labels") is None:
        return None
    return tuple(header["labels"]), header.get("metadata") or {}


def _own_header(path: Path) -> dict[str, Any] | None:
    """The JSON object in the header of our own file; None for every other file."""
    if path.suffix != ".safetensors":
        return None
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else LONGEST_HEADER
        if length >= LONGEST_HEADER:
            return None
        try:
            header = json.loads(json.loads(file.read(length))["__metadata__"]["w2v2"])
        except (ValueError, KeyError, TypeError):
            return None
    return header if isinstance(header, dict) else None


def huggingface_labels(folder: Path) -> tuple[str, ...]:
    """Labels in the order of their ids; without a vocab.json those of the published models.

    Raises LabelsError for a vocabulary that is not a JSON object of ids, OSError.
    """
    path = folder / "vocab.json"
    if not path.is_file():
        return STANDARD
    ids = _ids(path)
    if not ids:
        raise LabelsError(f"{path} has no labels.")
    added = folder / "added_tokens.json"
    if added.is_file():
        ids |= _ids(added)
    labels = [f"<{i}>" for i in range(max(ids.values()) + 1)]
    for label, i in ids.items():
        labels[i] = label
    return tuple(labels)


def _ids(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise LabelsError(f"{path} is not JSON: {error}.") from None
    if not isinstance(ids, dict) or not all(
        isinstance(i, int) and 0 <= i < MOST_LABELS for i in ids.values()
    ):
        raise LabelsError(f"{path} does not give each label its number.")
    return ids
