"""The file format of our word Transformers: one safetensors file, words included, without code.

The metadata has one key, `w2v2_lm`, a JSON object with format_version, config and metadata. The
tensor `dictionary` holds the symbols as lines of UTF-8. Tied weights are stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.transformer.config import TransformerLMConfig
from lm.transformer.dictionary import Dictionary
from lm.transformer.network import TransformerNetwork
from storage.pointers import NOT_FETCHED, is_pointer
from storage.tensors import TensorFileError, load_tensors, save_tensors, weights_mismatch

FORMAT_VERSION = 1
HEADER = "w2v2_lm"
DICTIONARY = "dictionary"


@dataclass(frozen=True)
class TransformerCheckpoint:
    """The architecture, words and weights of a network."""

    config: TransformerLMConfig
    dictionary: Dictionary
    weights: dict[str, Tensor]
    """Tensors by the names of `TransformerNetwork`, tied ones once."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Source, licence, recipe and the like, as JSON values."""

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(tensor.numel() for tensor in self.weights.values())


def network_weights(network: TransformerNetwork) -> dict[str, Tensor]:
    """The weights of a network by name, tied ones once."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def save_transformer(path: Path, checkpoint: TransformerCheckpoint, *, half: bool = False) -> None:
    """Write `path` whole or not at all. Raises OSError.

    half: store matrices in float16.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "config": asdict(checkpoint.config),
        "metadata": checkpoint.metadata,
    }
    symbols = bytearray("\n".join(checkpoint.dictionary.symbols).encode())
    tensors = checkpoint.weights | {DICTIONARY: torch.frombuffer(symbols, dtype=torch.uint8)}
    save_tensors(path, tensors, {HEADER: header}, half=half)


def load_transformer(path: Path) -> TransformerCheckpoint:
    """Read what `save_transformer` wrote; all weights become float32.

    Raises LanguageModelError for a file that is damaged, of another kind, or of a newer format.
    """
    if is_pointer(path):
        raise LanguageModelError(f"{path} {NOT_FETCHED}.")
    try:
        header, tensors = load_tensors(path, HEADER)
    except (TensorFileError, OSError) as error:
        raise LanguageModelError(
            f"{path} is damaged or not a language model of w2v2: {error}."
        ) from None
    if not isinstance(header, dict):
        raise LanguageModelError(f"{path} holds tensors but is not a language model of w2v2.")
    try:
        version, settings = header["format_version"], header["config"]
        if version > FORMAT_VERSION:
            raise LanguageModelError(
                f"{path} has format {version}, this w2v2 reads up to {FORMAT_VERSION}: update w2v2."
            )
        if DICTIONARY not in tensors:
            raise LanguageModelError(f"{path} does not hold the words of its language model.")
        symbols = tensors.pop(DICTIONARY).numpy().tobytes().decode().split("\n")
        return TransformerCheckpoint(
            _config(settings, path),
            Dictionary(symbols),
            {name: tensor.float() for name, tensor in tensors.items()},
            header.get("metadata", {}),
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise LanguageModelError(f"{path} has a damaged header ({error!r}).") from None


def build_transformer(checkpoint: TransformerCheckpoint) -> TransformerNetwork:
    """Build the network of a checkpoint, on the CPU and in evaluation mode.

    Raises LanguageModelError when dictionary and network differ in size, or when weights are
    missing, unknown or of another shape.
    """
    if len(checkpoint.dictionary) != checkpoint.config.vocabulary:
        raise LanguageModelError(
            f"The dictionary has {len(checkpoint.dictionary)} entries with its specials, the "
            f"network {checkpoint.config.vocabulary}: they do not belong together."
        )
    with torch.device("meta"):
        network = TransformerNetwork(checkpoint.config)
    if differs := weights_mismatch(checkpoint.weights, network_weights(network)):
        raise LanguageModelError(f"The weights do not fit the language model. {differs}.")
    network.load_state_dict(checkpoint.weights, strict=False, assign=True)
    network.tie()
    return network.requires_grad_(False).eval()


def _config(values: Mapping[str, Any], path: Path) -> TransformerLMConfig:
    unknown = sorted(set(values) - {item.name for item in fields(TransformerLMConfig)})
    if unknown:
        raise LanguageModelError(
            f"{path} sets {', '.join(unknown)}, which this w2v2 does not know: update w2v2."
        )
    read: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return TransformerLMConfig(**read)
