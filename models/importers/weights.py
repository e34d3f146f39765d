"""The weights in files of other programs, read as data: nothing in them is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoint import HEADER, CheckpointError
from storage.pickles import PickleError, load_pickle
from storage.tensors import TensorFileError, load_tensors


def load_content(path: Path) -> Any:
    """The named tensors of a safetensors file, or the plain data of a pickled one.

    Raises CheckpointError if the file is damaged, cannot be read, or would run code.
    """
    try:
        if path.suffix == ".safetensors":
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
    content = load_content(path)
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path} holds something other than named tensors.")
    return dict(content)
