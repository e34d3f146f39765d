"""Our own checkpoint: one safetensors file whose header says what the weights are. There is no code in it.

The header's metadata has one key, `w2v2`, a JSON object: format_version, config, labels, metadata.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from models.config import Wav2Vec2Config
from models.wav2vec2 import Wav2Vec2ForCTC

FORMAT_VERSION = 1
HEADER = "w2v2"
NAMED = 8  # keys that an error lists before it only counts

# Weights of the pretraining objective: a network for recognition has no place for them and needs none.
PRETRAINING_PREFIXES = ("quantizer.", "context_projection.", "target_projection.")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or does not fit its network."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's architecture, its weights under our names, and what its outputs stand for."""

    config: Wav2Vec2Config
    weights: dict[str, Tensor]
    labels: tuple[str, ...] | None
    """One for each output; None for a network that is only pretrained."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Whatever a card says: source, licence, recipe; plain JSON values."""


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write `path`, beside it first and then renamed; `half` stores matrices in float16."""
    header = {
        "format_version": FORMAT_VERSION,
        "config": asdict(checkpoint.config),
        "labels": checkpoint.labels,
        "metadata": checkpoint.metadata,
    }
    weights = {
        name: (tensor.half() if half and tensor.dim() > 1 else tensor).contiguous()
        for name, tensor in checkpoint.weights.items()
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write_tensors(weights, beside, {HEADER: json.dumps(header)})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_tensors(weights: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file; a full disk is an OSError as it is everywhere else."""
    try:
        safetensors.torch.save_file(weights, path, metadata=metadata)
    except safetensors.SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def is_own_format(path: Path) -> bool:
    """Whether `path` is a safetensors file with our header."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except safetensors.SafetensorError:
        return False


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote, weights as float32; CheckpointError says what is wrong with it."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint of w2v2: {error}.") from None
    if header is None:
        raise CheckpointError(f"{path} holds tensors but does not say what model they make.")
    if header["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {header['format_version']}, this w2v2 reads up to {FORMAT_VERSION}: update w2v2."
        )
    labels = None if header["labels"] is None else tuple(header["labels"])
    return Checkpoint(config_from_json(header["config"], path), weights, labels, header["metadata"])


def config_from_json(values: Mapping[str, Any], path: Path) -> Wav2Vec2Config:
    """A configuration from its JSON; unknown fields are named in a CheckpointError."""
    unknown = sorted(set(values) - {item.name for item in fields(Wav2Vec2Config)})
    if unknown:
        raise CheckpointError(
            f"{path} configures {', '.join(unknown)}, which this w2v2 does not know: update w2v2."
        )
    layers = tuple(tuple(layer) for layer in values.get("conv_layers", Wav2Vec2Config.conv_layers))
    return Wav2Vec2Config(**{**values, "conv_layers": layers})


def build_ctc(checkpoint: Checkpoint) -> Wav2Vec2ForCTC:
    """The recognition network of a checkpoint, in eval mode, float32.

    Raises CheckpointError when it has no output layer, or names every weight that is missing, unknown or misshapen.
    """
    if checkpoint.labels is None:
        raise CheckpointError(
            "This checkpoint is only pretrained and has no output layer: fine-tune it first (w2v2 finetune)."
        )
    with torch.device("meta"):
        network = Wav2Vec2ForCTC(checkpoint.config, len(checkpoint.labels))
    weights = {
        k: v for k, v in checkpoint.weights.items() if not k.startswith(PRETRAINING_PREFIXES)
    }
    check_weights(weights, network)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def check_weights(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Hold names and shapes against those of `network`; CheckpointError names what differs."""
    expected = network.state_dict()
    complaints = []
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    for what, names in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen)):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            complaints.append(f"{len(names)} {what}: {', '.join(names[:NAMED])}{more}")
    if complaints:
        raise CheckpointError(f"The weights do not fit the network. {'; '.join(complaints)}.")
