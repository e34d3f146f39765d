"""Any checkpoint, told apart by what is in it."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError, is_own_format, load_checkpoint
from models.importers.fairseq import read_fairseq
from models.importers.huggingface import read_huggingface
from models.importers.pickles import load
from models.importers.torchaudio import read_torchaudio


def read_model(path: Path) -> Checkpoint:
    """Our own file, a Hugging Face folder, a fairseq `.pt`, or a torchaudio state dict.

    CheckpointError says in a sentence what is wrong: not there, none of these, damaged, or made to run code.
    """
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(
                f"The folder {path} has no config.json: it is no Hugging Face model."
            )
        return read_huggingface(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if is_own_format(path):
        return load_checkpoint(path)
    content = _content(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        return read_fairseq(content, path)
    if isinstance(content, dict) and "encoder.feature_projection.projection.weight" in content:
        return read_torchaudio(content, path)
    raise CheckpointError(
        f"{path} is no checkpoint that w2v2 knows: not its own, nor fairseq's, nor a torchaudio state dict."
    )


def _content(path: Path) -> dict[str, Tensor] | object:
    if path.suffix != ".safetensors":
        return load(path)
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}.") from None
