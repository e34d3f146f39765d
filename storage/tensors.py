"""Tensors in safetensors files, with a JSON object in the header that says what they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from storage.whole import whole_file

NAMED = 8  # names that a message lists before it only counts


class TensorFileError(ValueError):
    """A file that holds no readable tensors."""


def save_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    headers: Mapping[str, Any],
    *,
    half: bool = False,
) -> None:
    """Write `path` whole or not at all.

    headers: JSON values by their key in the file's metadata.
    half: store floating-point matrices in float16.

    Raises OSError, for a full disk too.
    """
    stored = {
        name: (tensor.half() if half and _is_matrix(tensor) else tensor).contiguous()
        for name, tensor in tensors.items()
    }
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in headers.items()
    }
    with whole_file(path) as beside:
        try:
            safetensors.torch.save_file(stored, beside, metadata=metadata)
        except safetensors.SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def has_header(path: Path, key: str) -> bool:
    """Whether `path` is a safetensors file whose metadata has `key`."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return key in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def load_tensors(path: Path, key: str) -> tuple[Any, dict[str, Tensor]]:
    """The JSON value under `key` in the metadata, None where there is none, and all tensors.

    Raises TensorFileError for a file that is damaged or of another format, OSError for one that
    cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(key, "null"))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise TensorFileError(str(error)) from None


def weights_mismatch(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """What differs between the names and shapes of two sets of weights, None where nothing does.

    For example "1 missing: encoder.norm.weight; 1 misshapen: head.bias (3,) instead of (4,)".
    """
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    kinds = (("missing", missing), ("unknown", unknown), ("misshapen", misshapen))
    return "; ".join(_listed(kind, names) for kind, names in kinds if names) or None


def _listed(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {kind}: {', '.join(names[:NAMED])}{more}"


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.dim() > 1 and tensor.dtype in (torch.float32, torch.float64, torch.bfloat16)
