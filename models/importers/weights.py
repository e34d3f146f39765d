"""The weights in files of other programs, read as data: nothing in them is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import HEADER, CheckpointError
from storage.pickles import PickleError, load_pickle
from storage.pointers import NOT_FETCHED, is_pointer
from storage.tensors import TensorFileError, load_tensors


def load_content(path: Path) -> Any:
    """The named tensors of a safetensors file, or the plain data of a pickled one.

    Raises CheckpointError if the file is damaged, cannot be read, or would run code.
    """
    try:
        if path.suffix == ".safetensors":
            if is_pointer(path):
                raise CheckpointError(f"{path} {NOT_FETCHED}.")
            return load_tensors(path, HEADER)[1]
        return load_pickle(path)
    except TensorFileError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}.") from None
    except PickleError as error:
        raise CheckpointError(str(error)) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """A file that holds named tensors and nothing else. Raises CheckpointError."""
    return named_tensors(load_content(path), path)


def named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """What a file holds, where that is named tensors of numbers in memory. Raises CheckpointError.

    A tensor without storage of its own may claim any size: it is not copied.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds something other than named tensors.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} holds something other than named tensors.")
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise CheckpointError(f"{path}: the weight {name} is no plain table of real numbers.")
        if value.is_meta or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path}: the weight {name} claims the shape {tuple(value.shape)}, and the file "
                "does not hold as many numbers."
            )
    return dict(content)
