"""Any checkpoint: its format is recognised by its content."""

from __future__ import annotations

from pathlib import Path

from models.checkpoint import Checkpoint, CheckpointError, is_own_format, load_checkpoint
from models.importers.fairseq import read_fairseq
from models.importers.huggingface import read_huggingface
from models.importers.torchaudio import read_torchaudio
from models.importers.weights import load_content, named_tensors


def read_model(path: Path, language: str | None = None) -> Checkpoint:
    """Our own file, a Hugging Face folder, a fairseq `.pt`, or a torchaudio state dict.

    language: one of a model with an adapter for each; by default that of its main weights.

    Raises CheckpointError with a sentence: there is no such file, it is none of these formats, it
    is damaged, or it would run code.
    """
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(
                f"The folder {path} has no config.json: it is not a Hugging Face model."
            )
        return read_huggingface(path, language)
    checkpoint = _read_file(path)
    if language is not None and checkpoint.metadata.get("language") != language:
        raise CheckpointError(
            f"{path} has no adapters of languages: leave out --language {language}."
        )
    return checkpoint


def _read_file(path: Path) -> Checkpoint:
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if is_own_format(path):
        return load_checkpoint(path)
    content = load_content(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        return read_fairseq(content, path)
    if isinstance(content, dict) and "encoder.feature_projection.projection.weight" in content:
        return read_torchaudio(named_tensors(content, path), path)
    raise CheckpointError(
        f"{path} is not a checkpoint that w2v2 knows: "
        "neither its own nor fairseq's nor a torchaudio state dict."
    )
