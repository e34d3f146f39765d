"""What a checkpoint's outputs stand for, read without importing torch: search processes start with it."""

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
LONGEST_HEADER = 100_000_000  # bytes; what safetensors itself allows


def quick_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of our own file or of a Hugging Face folder; None where only the whole checkpoint can tell."""
    outputs = quick_outputs(path)
    return None if outputs is None else outputs[0]


def quick_outputs(path: Path) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """`quick_labels`, with the metadata of our own file (what its labels are: `Checkpoint.metadata`)."""
    if path.is_dir():
        return (huggingface_labels(path), {}) if (path / "vocab.json").is_file() else None
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
            return None  # the reader of the whole file says what is wrong with it
    return (
        None
        if header.get("labels") is None
        else (tuple(header["labels"]), header.get("metadata") or {})
    )


def huggingface_labels(folder: Path) -> tuple[str, ...]:
    """Labels in the order of their ids; a missing vocab.json stands for the alphabet of the published models."""
    path = folder / "vocab.json"
    if not path.is_file():
        return STANDARD
    ids: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    added = folder / "added_tokens.json"
    if added.is_file():
        ids |= json.loads(added.read_text(encoding="utf-8"))
    size = max(ids.values()) + 1
    labels = [f"<{i}>" for i in range(size)]
    for label, i in ids.items():
        labels[i] = label
    return tuple(labels)
