"""Our own checkpoint: one safetensors file whose header says what the weights are; no code in it.

The header's metadata has one key, `w2v2`: a JSON object with format_version, config, labels and
metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.config import Wav2Vec2Config
from models.wav2vec2 import Wav2Vec2, Wav2Vec2ForCTC
from storage.tensors import (
    TensorFileError,
    has_header,
    load_tensors,
    save_tensors,
    weights_mismatch,
)

FORMAT_VERSION = 1
HEADER = "w2v2"

# Weights of the pretraining objective, which a network for recognition does not have.
PRETRAINING_PREFIXES = (
    "quantizer.",
    "context_projection.",
    "target_projection.",
    "target_glu.",
    "target_encoder.",
    "target_norm.",
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit its network."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's architecture, its weights under our names, and the labels of its outputs."""

    config: Wav2Vec2Config
    weights: dict[str, Tensor]
    labels: tuple[str, ...] | None
    """One label for each output; None for a network that is only pretrained."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Whatever a model card says: source, licence, recipe; plain JSON values."""


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write `path` whole or not at all; `half` stores matrices in float16. Raises OSError."""
    header = {
        "format_version": FORMAT_VERSION,
        "config": asdict(checkpoint.config),
        "labels": checkpoint.labels,
        "metadata": checkpoint.metadata,
    }
    save_tensors(path, checkpoint.weights, {HEADER: header}, half=half)


def average(checkpoints: Iterable[Checkpoint]) -> Checkpoint:
    """The checkpoint whose weights are the means of several networks' weights.

    Networks that come from one training, or from one start, lie in one valley, and their mean often
    generalises better than each (Wortsman et al. 2022, arXiv 2203.05482). Metadata is the first's.
    Of the checkpoints two are in memory at a time. Raises CheckpointError for none, and for
    networks of different architecture, labels or weights.
    """
    first, sums, count = None, {}, 0
    for count, checkpoint in enumerate(checkpoints, 1):
        if first is None:
            first, sums = checkpoint, {k: v.clone() for k, v in checkpoint.weights.items()}
            continue
        if checkpoint.config != first.config:
            raise CheckpointError(f"Checkpoint {count} has another architecture than the first.")
        if checkpoint.labels != first.labels:
            raise CheckpointError(f"Checkpoint {count} has other labels than the first.")
        if differences := weights_mismatch(checkpoint.weights, first.weights):
            raise CheckpointError(f"Checkpoint {count} has other weights. {differences}.")
        for name, tensor in checkpoint.weights.items():
            sums[name] += tensor
    if first is None:
        raise CheckpointError("There is no checkpoint to average.")
    return replace(first, weights={name: tensor / count for name, tensor in sums.items()})


def is_own_format(path: Path) -> bool:
    """Whether `path` is a safetensors file with our header."""
    return has_header(path, HEADER)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote, with weights in float32.

    Raises CheckpointError with a sentence that says what is wrong with the file.
    """
    try:
        header, weights = load_tensors(path, HEADER)
    except TensorFileError as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint of w2v2: {error}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    if header is None:
        raise CheckpointError(f"{path} holds tensors but does not say which model they make.")
    try:
        version, labels = header["format_version"], header["labels"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format {version}, this w2v2 reads up to {FORMAT_VERSION}: update w2v2."
            )
        return Checkpoint(
            config_from_json(header["config"], path),
            {name: tensor.float() for name, tensor in weights.items()},
            None if labels is None else tuple(labels),
            header["metadata"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged header ({error!r}).") from None


def config_from_json(values: Mapping[str, Any], path: Path) -> Wav2Vec2Config:
    """A configuration from its JSON. Raises CheckpointError for unknown fields and bad values."""
    unknown = sorted(set(values) - {item.name for item in fields(Wav2Vec2Config)})
    if unknown:
        raise CheckpointError(
            f"{path} configures {', '.join(unknown)}, which this w2v2 does not know: update w2v2."
        )
    layers = tuple(tuple(layer) for layer in values.get("conv_layers", Wav2Vec2Config.conv_layers))
    try:
        return Wav2Vec2Config(**{**values, "conv_layers": layers})
    except ValueError as error:
        raise CheckpointError(f"{path} configures a network that cannot be: {error}.") from None


def build_ctc(checkpoint: Checkpoint) -> Wav2Vec2ForCTC:
    """The recognition network of a checkpoint, in eval mode, float32.

    Raises CheckpointError when the checkpoint has no output layer, or when weights are missing,
    unknown or misshapen; the message names them.
    """
    if checkpoint.labels is None:
        raise CheckpointError(
            "This checkpoint is only pretrained and has no output layer: "
            "fine-tune it first (w2v2 finetune)."
        )
    with torch.device("meta"):
        network = Wav2Vec2ForCTC(checkpoint.config, len(checkpoint.labels))
    weights = {
        name: tensor
        for name, tensor in checkpoint.weights.items()
        if not name.startswith(PRETRAINING_PREFIXES)
    }
    check_weights(weights, network)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def build_network(checkpoint: Checkpoint) -> Wav2Vec2:
    """The network of a checkpoint without its heads and its adapter, in eval mode, float32.

    Raises CheckpointError as `build_ctc`.
    """
    with torch.device("meta"):
        network = Wav2Vec2(replace(checkpoint.config, adapter=False))
    prefix = "wav2vec2."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.weights.items()
        if name.startswith(prefix) and not name.startswith(f"{prefix}adapter.")
    }
    check_weights(weights, network)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def check_weights(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Compare names and shapes with those of `network`; CheckpointError names the differences."""
    if differences := weights_mismatch(weights, network.state_dict()):
        raise CheckpointError(f"The weights do not fit the network. {differences}.")
