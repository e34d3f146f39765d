"""Folders in the format of transformers, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError
from models.config import Wav2Vec2Config
from models.importers.families import FAMILIES
from models.importers.huggingface_config import family_prefix, json_object, network_config
from models.importers.key_table import to_ours, with_parts
from models.importers.languages import adapter_path
from models.importers.tokenizer import LabelsError, huggingface_outputs
from models.importers.weights import load_weights
from storage.tensors import shortened

POSITION = "wav2vec2.encoder.pos_conv_embed.conv"
BLOCK = "wav2vec2.encoder.layers.{i}"
HEADS = ("lm_head.", "quantizer.", "project_")
# The heads with which UniSpeech's models are pretrained: other objectives than wav2vec 2.0's.
OTHER_OBJECTIVES = (
    r"(quantizer|project_hid|project_q|ctc_proj|speaker_proj|layer_norm_for_extract)\..*",
    "label_embeddings_concat",
)
OUR_BLOCK = "wav2vec2.context_network.blocks.{i}"
KEYS = (
    *with_parts(
        (
            (
                "wav2vec2.feature_extractor.conv_layers.{i}.conv",
                "wav2vec2.feature_encoder.layers.{i}.conv",
            ),
            (
                "wav2vec2.feature_extractor.conv_layers.{i}.layer_norm",
                "wav2vec2.feature_encoder.layers.{i}.norm",
            ),
            ("wav2vec2.feature_projection.layer_norm", "wav2vec2.feature_norm"),
            ("wav2vec2.feature_projection.projection", "wav2vec2.feature_projection"),
            ("wav2vec2.encoder.layer_norm", "wav2vec2.context_network.norm"),
            (f"{BLOCK}.attention.q_proj", f"{OUR_BLOCK}.attention.query"),
            (f"{BLOCK}.attention.k_proj", f"{OUR_BLOCK}.attention.key"),
            (f"{BLOCK}.attention.v_proj", f"{OUR_BLOCK}.attention.value"),
            (f"{BLOCK}.attention.out_proj", f"{OUR_BLOCK}.attention.output"),
            (f"{BLOCK}.layer_norm", f"{OUR_BLOCK}.attention_norm"),
            (f"{BLOCK}.feed_forward.intermediate_dense", f"{OUR_BLOCK}.feed_forward.expand"),
            (f"{BLOCK}.feed_forward.output_dense", f"{OUR_BLOCK}.feed_forward.contract"),
            (f"{BLOCK}.final_layer_norm", f"{OUR_BLOCK}.feed_forward_norm"),
            (f"{BLOCK}.adapter_layer.norm", f"{OUR_BLOCK}.adapter.norm"),
            (f"{BLOCK}.adapter_layer.linear_1", f"{OUR_BLOCK}.adapter.reduce"),
            (f"{BLOCK}.adapter_layer.linear_2", f"{OUR_BLOCK}.adapter.expand"),
            ("wav2vec2.adapter.proj", "wav2vec2.adapter.projection"),
            ("wav2vec2.adapter.proj_layer_norm", "wav2vec2.adapter.norm"),
            ("wav2vec2.adapter.layers.{i}.conv", "wav2vec2.adapter.layers.{i}"),
            ("lm_head", "output"),
            ("quantizer.weight_proj", "quantizer.projection"),
            ("project_hid", "context_projection"),
            ("project_q", "target_projection"),
        )
    ),
    ("wav2vec2.masked_spec_embed", "wav2vec2.mask_vector"),
    ("quantizer.codevectors", "quantizer.codebook"),
    (f"{POSITION}.bias", "wav2vec2.context_network.position.bias"),
    # torch's older names of weight norm, then its newer ones, which are written.
    (f"{POSITION}.weight_g", "wav2vec2.context_network.position.weight_g"),
    (f"{POSITION}.weight_v", "wav2vec2.context_network.position.weight_v"),
    (f"{POSITION}.parametrizations.weight.original0", "wav2vec2.context_network.position.weight_g"),
    (f"{POSITION}.parametrizations.weight.original1", "wav2vec2.context_network.position.weight_v"),
)


def read_configuration(folder: Path) -> Wav2Vec2Config:
    """The network that a folder's config.json configures, read without its weights.

    Raises CheckpointError with a sentence that says what is wrong with it.
    """
    return _configured(folder)[1]


def _configured(folder: Path) -> tuple[str, Wav2Vec2Config]:
    """The prefix of the weights' names, and the network."""
    settings = json_object(folder / "config.json")
    prefix = family_prefix(settings, folder)
    try:
        return prefix, network_config(settings, folder)
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} configures a network that cannot be: {error}."
        ) from None


def read_huggingface(folder: Path, language: str | None = None) -> Checkpoint:
    """Read the folder of a `Wav2Vec2ForCTC`, `Wav2Vec2ForPreTraining` or `Wav2Vec2Model`.

    HuBERT, UniSpeech and UniSpeech-SAT are the same network: their CTC models and those without a
    head are read alike.

    language: one of a model with an adapter for each (`languages`); by default that of the weights
    in its main file.

    Raises CheckpointError with a sentence that says what is wrong with it.
    """
    prefix, config = _configured(folder)
    weights, count = _weights(folder), None
    if language is not None:
        weights, count = _with_adapter(weights, folder, language)
    if prefix != FAMILIES["wav2vec2"]:
        weights = {n: w for n, w in weights.items() if not _of_another_objective(n)}
    ours = to_ours(_with_our_prefix(weights, prefix), KEYS, folder)
    if "quantizer.codebook" in ours:
        # (1, GV, d/G) -> (GV, d/G)
        ours["quantizer.codebook"] = ours["quantizer.codebook"].squeeze(0)
    # transformers leaves the vector out of models that it never masks: training would start it.
    ours.setdefault("wav2vec2.mask_vector", torch.zeros(config.width))
    labels: tuple[str, ...] | None = None
    metadata: dict[str, Any] = {}
    if "output.weight" in ours:
        try:
            labels, metadata = huggingface_outputs(folder, language, count)
        except LabelsError as error:
            raise CheckpointError(str(error)) from None
    source = {"source": f"Hugging Face folder {folder.name}"}
    return Checkpoint(config, ours, labels, source | metadata)


def _with_our_prefix(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights with the prefix of wav2vec2, which a model without a head leaves out."""
    bare = not any(name.startswith(prefix) for name in weights)
    return {
        f"wav2vec2.{name.removeprefix(prefix)}"
        if name.startswith(prefix) or (bare and not name.startswith(HEADS))
        else name: tensor
        for name, tensor in weights.items()
    }


def _of_another_objective(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in OTHER_OBJECTIVES)


def _with_adapter(
    weights: dict[str, Tensor], folder: Path, language: str
) -> tuple[dict[str, Tensor], int | None]:
    """The weights with those of a language, and how many outputs they have if it is not as before.

    Raises CheckpointError for a language that is not there, and for an adapter with other weights
    than the network has.
    """
    try:
        path = adapter_path(folder, language)
    except LabelsError as error:
        raise CheckpointError(str(error)) from None
    if path is None:
        return weights, None
    adapter = load_weights(path)
    own = {name for name in weights if name.startswith("lm_head.") or ".adapter_layer." in name}
    if differences := sorted(own ^ adapter.keys()):
        raise CheckpointError(
            f"{path} does not fit the network: they differ in {shortened(differences)}."
        )
    head = adapter["lm_head.weight"]
    if head.dim() != 2:
        raise CheckpointError(f"{path} has an output layer that is no matrix.")
    return weights | adapter, len(head)


def _weights(folder: Path) -> dict[str, Tensor]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return load_weights(folder / name)
        listing = folder / f"{name}.index.json"
        if listing.is_file():
            return _sharded_weights(listing)
    raise CheckpointError(
        f"{folder} has a config.json but neither model.safetensors nor pytorch_model.bin."
    )


def _sharded_weights(listing: Path) -> dict[str, Tensor]:
    """The weights of all the files that an index names, in the index's own folder."""
    files = json_object(listing).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{listing} does not say which file holds which weight.")
    weights: dict[str, Tensor] = {}
    for file in sorted(set(files.values())):
        weights |= load_weights(listing.parent / Path(file).name)
    return weights
