"""Folders in the format of transformers, read and written."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import PRETRAINING_PREFIXES, Checkpoint, CheckpointError
from models.config import SAMPLE_RATE, Wav2Vec2Config
from models.importers.huggingface_config import family_prefix, json_object, network_config
from models.importers.key_table import to_ours, to_theirs, with_parts
from models.importers.tokenizer import LabelsError, huggingface_outputs
from models.importers.weights import load_weights
from storage.tensors import save_tensors
from storage.whole import whole_file

POSITION = "wav2vec2.encoder.pos_conv_embed.conv"
BLOCK = "wav2vec2.encoder.layers.{i}"
BLANKS = ("<pad>", "[PAD]", "<blank>", "-")
HEADS = ("lm_head.", "quantizer.", "project_")
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


def read_huggingface(folder: Path) -> Checkpoint:
    """Read the folder of a `Wav2Vec2ForCTC`, `Wav2Vec2ForPreTraining` or `Wav2Vec2Model`.

    HuBERT, UniSpeech and UniSpeech-SAT are the same network: their CTC models and those without a
    head are read alike.

    Raises CheckpointError with a sentence that says what is wrong with it.
    """
    settings = json_object(folder / "config.json")
    prefix = family_prefix(settings, folder)
    try:
        config = network_config(settings, folder)
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} configures a network that cannot be: {error}."
        ) from None
    ours = to_ours(_with_our_prefix(_weights(folder), prefix), KEYS, folder)
    if "quantizer.codebook" in ours:
        # (1, GV, d/G) -> (GV, d/G)
        ours["quantizer.codebook"] = ours["quantizer.codebook"].squeeze(0)
    # transformers leaves the vector out of models that it never masks: training would start it.
    ours.setdefault("wav2vec2.mask_vector", torch.zeros(config.width))
    labels: tuple[str, ...] | None = None
    metadata: dict[str, Any] = {}
    if "output.weight" in ours:
        try:
            labels, metadata = huggingface_outputs(folder)
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


def write_huggingface(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a folder for `from_pretrained` of `Wav2Vec2ForCTC` and of `Wav2Vec2Processor`.

    All files are complete before the first gets its name, and config.json gets its name last. An
    error leaves the model that was in the folder before; a kill never leaves a new folder that
    reads as a model without being one.

    Raises CheckpointError for a model without an output layer or with weights that transformers
    has no place for, OSError.
    """
    if checkpoint.labels is None:
        raise CheckpointError("Only a model with an output layer can be written for transformers.")
    weights = {
        name: tensor
        for name, tensor in checkpoint.weights.items()
        if not name.startswith(PRETRAINING_PREFIXES)
    }
    theirs = to_theirs(weights, KEYS)
    labels = _their_labels(checkpoint)
    tokens = _tokenizer(labels, checkpoint.metadata)
    files = {
        "config.json": {
            **_their_config(checkpoint.config, len(labels)),
            "pad_token_id": labels.index(tokens["pad_token"]),
        },
        "vocab.json": {label: i for i, label in enumerate(labels)},
        "preprocessor_config.json": _preprocessor(checkpoint.config),
        "tokenizer_config.json": tokens,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as renames:  # in the reverse of the order in which they are entered
        for name, values in files.items():
            beside = renames.enter_context(whole_file(folder / name))
            text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
            beside.write_text(text, encoding="utf-8")
        beside = renames.enter_context(whole_file(folder / "model.safetensors"))
        save_tensors(beside, theirs, {"format": "pt"})


def _preprocessor(config: Wav2Vec2Config) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": config.normalize_waveform,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        # transformers passes a mask of the padding to networks with layer norms only.
        "return_attention_mask": config.conv_norm == "layer",
        "sampling_rate": SAMPLE_RATE,
    }


def _their_config(config: Wav2Vec2Config, outputs: int) -> dict[str, Any]:
    channels, kernels, strides = (list(values) for values in zip(*config.conv_layers, strict=True))
    return {
        "architectures": ["Wav2Vec2ForCTC"],
        "model_type": "wav2vec2",
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "num_feat_extract_layers": len(channels),
        "conv_bias": config.conv_bias,
        "feat_extract_norm": config.conv_norm,
        "feat_extract_activation": "gelu",
        "hidden_act": "gelu",
        "hidden_size": config.width,
        "intermediate_size": config.ffn_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "do_stable_layer_norm": config.norm_order == "pre",
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "feat_proj_dropout": config.feature_dropout,
        "final_dropout": config.final_dropout,
        "layerdrop": config.layer_drop,
        "num_codevector_groups": config.codebooks,
        "num_codevectors_per_group": config.codebook_entries,
        "codevector_dim": config.codebook_width,
        "proj_codevector_dim": config.target_width,
        "vocab_size": outputs,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
    }


def _their_labels(checkpoint: Checkpoint) -> list[str]:
    """The labels, with the word boundary as `|`: transformers 5 forgets a delimiter of its own."""
    labels = list(checkpoint.labels or ())
    boundary = checkpoint.metadata.get("word_boundary")
    if "|" not in labels and isinstance(boundary, int) and 0 <= boundary < len(labels):
        labels[boundary] = "|"
    return labels


def _tokenizer(labels: list[str], metadata: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's settings: special labels by what the metadata says, else by name."""
    blank, boundary, unknown = (
        labels[i] if isinstance(i := metadata.get(name), int) and 0 <= i < len(labels) else None
        for name in ("blank", "word_boundary", "unknown")
    )
    if blank is None:
        blank = next((name for name in BLANKS if name in labels), labels[0])
    if boundary is None and metadata.get("word_boundary", "|") is not None:
        boundary = "|"
    return {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": blank,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>" if unknown is None else unknown,
        "word_delimiter_token": boundary,
        "do_lower_case": False,
    }
