"""Folders in the format of transformers, read and written."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoint import PRETRAINING_PREFIXES, Checkpoint, CheckpointError
from models.config import SAMPLE_RATE, Wav2Vec2Config, base
from models.importers.key_table import to_ours, to_theirs, with_parts
from models.importers.labels import LabelsError, huggingface_labels
from models.importers.weights import load_weights
from storage.tensors import save_tensors
from storage.whole import whole_file

POSITION = "wav2vec2.encoder.pos_conv_embed.conv"
BLOCK = "wav2vec2.encoder.layers.{i}"
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

    Raises CheckpointError with a sentence that says what is wrong with it.
    """
    settings = _json(folder / "config.json")
    if settings.get("model_type") != "wav2vec2":
        raise CheckpointError(
            f"{folder} holds a {settings.get('model_type')!r} model, not wav2vec2."
        )
    weights = _weights(folder)
    if not any(name.startswith("wav2vec2.") for name in weights):
        heads = ("lm_head.", "quantizer.", "project_")
        weights = {
            name if name.startswith(heads) else f"wav2vec2.{name}": w for name, w in weights.items()
        }
    ours = to_ours(weights, KEYS, folder)
    if "quantizer.codebook" in ours:
        # (1, GV, d/G) -> (GV, d/G)
        ours["quantizer.codebook"] = ours["quantizer.codebook"].squeeze(0)
    try:
        config = _config(settings, folder)
        labels = huggingface_labels(folder) if "output.weight" in ours else None
    except LabelsError as error:
        raise CheckpointError(str(error)) from None
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} configures a network that cannot be: {error}."
        ) from None
    return Checkpoint(config, ours, labels, {"source": f"Hugging Face folder {folder.name}"})


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
    files = _json(listing).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{listing} does not say which file holds which weight.")
    weights: dict[str, Tensor] = {}
    for file in sorted(set(files.values())):
        weights |= load_weights(listing.parent / Path(file).name)
    return weights


def _config(settings: dict[str, Any], folder: Path) -> Wav2Vec2Config:
    """Their configuration as ours; a missing value is that of BASE, as in transformers."""
    default = base()
    channels, kernels, strides = zip(*default.conv_layers, strict=True)
    layers = zip(
        settings.get("conv_dim", channels),
        settings.get("conv_kernel", kernels),
        settings.get("conv_stride", strides),
        strict=True,
    )
    processor = folder / "preprocessor_config.json"
    normalize = _json(processor).get("do_normalize", True) if processor.is_file() else False
    return replace(
        default,
        conv_layers=tuple(layers),
        conv_bias=settings.get("conv_bias", False),
        conv_norm=settings.get("feat_extract_norm", "group"),
        normalize_waveform=normalize,
        width=settings.get("hidden_size", default.width),
        ffn_width=settings.get("intermediate_size", default.ffn_width),
        num_layers=settings.get("num_hidden_layers", default.num_layers),
        num_heads=settings.get("num_attention_heads", default.num_heads),
        norm_order="pre" if settings.get("do_stable_layer_norm", False) else "post",
        position_kernel=settings.get("num_conv_pos_embeddings", default.position_kernel),
        position_groups=settings.get("num_conv_pos_embedding_groups", default.position_groups),
        codebooks=settings.get("num_codevector_groups", default.codebooks),
        codebook_entries=settings.get("num_codevectors_per_group", default.codebook_entries),
        codebook_width=settings.get("codevector_dim", default.codebook_width),
        target_width=settings.get("proj_codevector_dim", default.target_width),
    )


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
    labels = list(checkpoint.labels)
    files = {
        "config.json": _their_config(checkpoint.config, labels),
        "vocab.json": {label: i for i, label in enumerate(labels)},
        "preprocessor_config.json": _preprocessor(checkpoint.config),
        "tokenizer_config.json": _tokenizer(labels),
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


def _their_config(config: Wav2Vec2Config, labels: list[str]) -> dict[str, Any]:
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
        "vocab_size": len(labels),
        "pad_token_id": _blank(labels),
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
    }


def _tokenizer(labels: list[str]) -> dict[str, Any]:
    return {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": labels[_blank(labels)],
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "word_delimiter_token": "|",
        "do_lower_case": False,
    }


def _blank(labels: list[str]) -> int:
    return next(
        (labels.index(name) for name in ("<pad>", "[PAD]", "<blank>", "-") if name in labels), 0
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object.")
    return values
