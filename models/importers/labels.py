"""The labels of a checkpoint's outputs, read without torch so that search processes start soon."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from models.importers.tokenizer import LabelsError, huggingface_outputs

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


def quick_outputs(path: Path) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """`quick_labels`, with what the checkpoint's metadata says of them."""
    try:
        if path.is_dir():
            return huggingface_outputs(path) if (path / "vocab.json").is_file() else None
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
