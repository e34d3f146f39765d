"""Tensors in safetensors files, with a JSON object in the header that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from storage.json_text import JsonError, parsed
from storage.whole import whole_file

NAMED = 8  # names that a message lists before it only counts
DTYPES = {  # in the order in which the library writes them, largest elements first
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


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

    headers: JSON values by their key in the file's metadata; a string is stored as it is.
    half: store floating-point matrices in float16.

    Raises OSError, for a full disk too, and KeyError for a type that is not in DTYPES.
    """
    stored = {
        name: tensor.half() if half and _is_matrix(tensor) else tensor
        for name, tensor in tensors.items()
    }
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in headers.items()
    }
    # The library's own writer makes a temporary file that a kill leaves behind, readable by its
    # owner alone. The format is a length, a JSON header, and the bytes of one tensor after another.
    ranks = {dtype: rank for rank, dtype in enumerate(DTYPES)}
    order = sorted(stored, key=lambda name: (ranks[stored[name].dtype], name))
    with whole_file(path) as beside, beside.open("wb") as file:
        file.write(_header(metadata, {name: stored[name] for name in order}))
        for name in order:
            content = stored[name].detach().cpu().contiguous().view(-1).view(torch.uint8)
            file.write(content.numpy().data)


def _header(metadata: dict[str, str], tensors: dict[str, Tensor]) -> bytes:
    """The file up to the first tensor's bytes, padded with spaces to a multiple of eight."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


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
            header = parsed((file.metadata() or {}).get(key, "null"))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, JsonError) as error:
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
    return (
        "; ".join(f"{len(names)} {kind}: {shortened(names)}" for kind, names in kinds if names)
        or None
    )


def shortened(names: Sequence[str]) -> str:
    """Names for a message: the first ones, then how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.dim() > 1 and tensor.dtype in (torch.float32, torch.float64, torch.bfloat16)
