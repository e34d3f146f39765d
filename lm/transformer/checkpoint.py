"""Our own file of a word Transformer: one safetensors file, words included. There is no code in it.

The header's metadata has one key, `w2v2_lm`, a JSON object: format_version, config, metadata. The tensor `dictionary`
holds the symbols as UTF-8 lines; weights that are tied are stored once.
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
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.transformer.config import TransformerLMConfig
from lm.transformer.dictionary import Dictionary
from lm.transformer.network import TransformerNetwork

FORMAT_VERSION = 1
HEADER = "w2v2_lm"
DICTIONARY = "dictionary"
NAMED = 8  # weights that an error lists before it only counts


@dataclass(frozen=True)
class TransformerCheckpoint:
    """A network's architecture, its words, and its weights under our names."""

    config: TransformerLMConfig
    dictionary: Dictionary
    weights: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
    """Whatever a card says: source, licence, recipe; plain JSON values."""

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(tensor.numel() for tensor in self.weights.values())


def network_weights(network: TransformerNetwork) -> dict[str, Tensor]:
    """A network's weights by name, tied ones once."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def save_transformer(path: Path, checkpoint: TransformerCheckpoint, *, half: bool = False) -> None:
    """Write `path`, beside it first and then renamed; `half` stores matrices in float16."""
    header = {
        "format_version": FORMAT_VERSION,
        "config": asdict(checkpoint.config),
        "metadata": checkpoint.metadata,
    }
    weights = {
        name: (tensor.half() if half and tensor.dim() > 1 else tensor).contiguous()
        for name, tensor in checkpoint.weights.items()
    }
    lines = bytearray("\n".join(checkpoint.dictionary.symbols).encode())
    weights[DICTIONARY] = torch.frombuffer(lines, dtype=torch.uint8)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            safetensors.torch.save_file(weights, beside, metadata={HEADER: json.dumps(header)})
        except (
            safetensors.SafetensorError
        ) as error:  # of a full disk too, which everywhere else is an OSError
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def is_transformer_file(path: Path) -> bool:
    """Whether `path` is a safetensors file with our header."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except safetensors.SafetensorError:
        return False


def load_transformer(path: Path) -> TransformerCheckpoint:
    """Read what `save_transformer` wrote, weights as float32; LanguageModelError says what is wrong with it."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            if header is None:
                raise LanguageModelError(f"{path} holds tensors but is no language model of w2v2.")
            if header["format_version"] > FORMAT_VERSION:
                raise LanguageModelError(
                    f"{path} has format {header['format_version']}, this w2v2 reads up to {FORMAT_VERSION}: update w2v2."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, json.JSONDecodeError, OSError) as error:
        raise LanguageModelError(
            f"{path} is damaged or no language model of w2v2: {error}."
        ) from None
    if DICTIONARY not in tensors:
        raise LanguageModelError(f"{path} does not hold the words of its language model.")
    symbols = tensors.pop(DICTIONARY).numpy().tobytes().decode().split("\n")
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    return TransformerCheckpoint(
        _config(header["config"], path), Dictionary(symbols), weights, header.get("metadata", {})
    )


def build_transformer(checkpoint: TransformerCheckpoint) -> TransformerNetwork:
    """The network of a checkpoint, in eval mode; LanguageModelError names each weight that does not fit."""
    if len(checkpoint.dictionary) != checkpoint.config.vocabulary:
        raise LanguageModelError(
            f"The dictionary has {len(checkpoint.dictionary)} entries with its specials, the network "
            f"{checkpoint.config.vocabulary}: they do not belong together."
        )
    with torch.device("meta"):
        network = TransformerNetwork(checkpoint.config)
    check_weights(checkpoint.weights, network_weights(network))
    network.load_state_dict(checkpoint.weights, strict=False, assign=True)
    network.tie()
    return network.requires_grad_(False).eval()


def check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Hold names and shapes against each other; LanguageModelError names what differs."""
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
        raise LanguageModelError(
            f"The weights do not fit the language model. {'; '.join(complaints)}."
        )


def _config(values: Mapping[str, Any], path: Path) -> TransformerLMConfig:
    unknown = sorted(set(values) - {item.name for item in fields(TransformerLMConfig)})
    if unknown:
        raise LanguageModelError(
            f"{path} configures {', '.join(unknown)}, which this w2v2 does not know: update w2v2."
        )
    read: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return TransformerLMConfig(**read)
