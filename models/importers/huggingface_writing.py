"""Folders in the format of transformers, written."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoint import PRETRAINING_PREFIXES, Checkpoint, CheckpointError
from models.config import SAMPLE_RATE, Wav2Vec2Config
from models.importers.huggingface import KEYS
from models.importers.key_table import to_theirs
from storage.tensors import save_tensors
from storage.whole import whole_file

BLANKS = ("<pad>", "[PAD]", "<blank>", "-")
UNKNOWN = ("<unk>", "[UNK]")
PREFIX = "wav2vec2."  # of the weights of models with a head
# pyctcdecode finds these two by their names.
DECODER_NAMES = {"blank": "<pad>", "unknown": "<unk>"}
DECODER_UNKNOWN = "⁇"
LANGUAGE_MODEL_FILES = ("alphabet.json", "language_model")
# What transformers or w2v2 would read beside the files that are written here.
READ_BESIDE = (
    "processor_config.json",
    "vocab.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter.*",
    "model-*.safetensors",
    "pytorch_model*.bin",
    "*.index.json",
    *LANGUAGE_MODEL_FILES,
)
WITH_LM = {"processor_class": "Wav2Vec2ProcessorWithLM"}


def write_huggingface(
    checkpoint: Checkpoint, folder: Path, *, with_language_model: bool = False
) -> None:
    """Write a folder for `from_pretrained` of transformers, and of `Wav2Vec2Processor`.

    It is a `Wav2Vec2ForCTC` for a checkpoint with labels, a `Wav2Vec2ForPreTraining` for one with a
    quantizer, else a `Wav2Vec2Model`.

    All files are complete before the first gets its name, and config.json gets its name last. An
    error leaves the model that was in the folder before; a kill never leaves a new folder that
    reads as a model without being one.

    with_language_model: for `Wav2Vec2ProcessorWithLM`, whose files are written beside.

    Raises CheckpointError for weights that transformers has no place for, and as `refuse_others`
    does; OSError.
    """
    refuse_others(checkpoint, folder, with_language_model=with_language_model)
    kind, weights = _their_weights(checkpoint)
    config = {"architectures": [kind], **_their_config(checkpoint.config)}
    files = {"config.json": config, "preprocessor_config.json": _preprocessor(checkpoint.config)}
    if checkpoint.labels is not None:
        labels = _their_labels(checkpoint)
        if with_language_model:
            labels = _decoders_labels(labels, checkpoint.metadata)
        tokens = _tokenizer(labels, checkpoint.metadata)
        config["vocab_size"] = len(labels)
        config["pad_token_id"] = labels.index(tokens["pad_token"])
        files["vocab.json"] = {label: i for i, label in enumerate(labels)}
        files["tokenizer_config.json"] = tokens
    if with_language_model:
        files["preprocessor_config.json"] |= WITH_LM
        files["tokenizer_config.json"] |= WITH_LM
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as renames:  # in the reverse of the order in which they are entered
        for name, values in files.items():
            beside = renames.enter_context(whole_file(folder / name))
            text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
            beside.write_text(text, encoding="utf-8")
        beside = renames.enter_context(whole_file(folder / "model.safetensors"))
        save_tensors(beside, weights, {"format": "pt"})


def refuse_others(checkpoint: Checkpoint, folder: Path, *, with_language_model: bool) -> None:
    """Raise CheckpointError for a folder with files that would be read beside those written.

    They are another model's. Files that are written anew are replaced, and others do no harm.
    """
    written = ["vocab.json", "tokenizer_config.json"] if checkpoint.labels is not None else []
    written += LANGUAGE_MODEL_FILES if with_language_model else []
    found = {path.name for pattern in READ_BESIDE for path in folder.glob(pattern)}
    others = sorted(found.difference(written))
    if others:
        raise CheckpointError(
            f"{folder} holds {others[0]} of another model, which would be read with what is "
            "written: name another folder, or delete the files in it first."
        )


def decoder_alphabet(checkpoint: Checkpoint) -> list[str]:
    """The labels as pyctcdecode has them: its own names for blank, boundary and unknown symbol.

    Raises CheckpointError for a model that can have no language model of words.
    """
    labels = _decoders_labels(_their_labels(checkpoint), checkpoint.metadata)
    tokens = _tokenizer(labels, checkpoint.metadata)
    names = {tokens["pad_token"]: "", tokens["word_delimiter_token"]: " "}
    if tokens["unk_token"] is not None:
        names[tokens["unk_token"]] = DECODER_UNKNOWN
    return [names.get(label, label) for label in labels]


def _their_weights(checkpoint: Checkpoint) -> tuple[str, dict[str, Tensor]]:
    """The class of transformers that a checkpoint is, and its weights under their names."""
    ours = dict(checkpoint.weights)
    if checkpoint.labels is not None:
        kept = {n: w for n, w in ours.items() if not n.startswith(PRETRAINING_PREFIXES)}
        return "Wav2Vec2ForCTC", to_theirs(kept, KEYS)
    ours = {name: weight for name, weight in ours.items() if not name.startswith("output.")}
    if any(name.startswith(PRETRAINING_PREFIXES) for name in ours):
        if "quantizer.codebook" not in ours:
            raise CheckpointError(
                "transformers has no place for a model whose targets are not quantized."
            )
        ours["quantizer.codebook"] = ours["quantizer.codebook"].unsqueeze(0)
        return "Wav2Vec2ForPreTraining", to_theirs(ours, KEYS)
    theirs = to_theirs(ours, KEYS)
    return "Wav2Vec2Model", {name.removeprefix(PREFIX): w for name, w in theirs.items()}


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


def _their_config(config: Wav2Vec2Config) -> dict[str, Any]:
    channels, kernels, strides = (list(values) for values in zip(*config.conv_layers, strict=True))
    return {
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
        "feat_quantizer_dropout": config.quantizer_dropout,
        **_their_adapters(config),
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
    }


def _their_adapters(config: Wav2Vec2Config) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if config.attention_adapter:
        values["adapter_attn_dim"] = config.attention_adapter
    if config.adapter:
        values |= {
            "add_adapter": True,
            "num_adapter_layers": config.adapter_layers,
            "adapter_kernel_size": config.adapter_kernel,
            "adapter_stride": config.adapter_stride,
            "output_hidden_size": config.output_width,
        }
    return values


def _decoders_labels(labels: list[str], metadata: dict[str, Any]) -> list[str]:
    """The labels, with blank and unknown symbol under the names by which pyctcdecode finds them.

    Raises CheckpointError where another label has such a name, and without a word boundary.
    """
    tokens = _tokenizer(labels, metadata)
    found = {"blank": tokens["pad_token"], "unknown": tokens["unk_token"]}
    if tokens["word_delimiter_token"] is None or metadata.get("units") in ("phones", "pieces"):
        raise CheckpointError(
            "Only a model of characters with a word boundary can have a language model of words."
        )
    for role, name in DECODER_NAMES.items():
        if found[role] is None or found[role].lower() in (name, f"[{name[1:-1]}]"):
            continue
        if name in labels:
            raise CheckpointError(
                f"The {role} is {found[role]!r}, but another label has the name {name} by which "
                "pyctcdecode finds it."
            )
        labels = [name if label == found[role] else label for label in labels]
    return labels


def _their_labels(checkpoint: Checkpoint) -> list[str]:
    """The labels, with the word boundary as `|`: transformers 5 forgets a delimiter of its own."""
    labels = list(checkpoint.labels or ())
    boundary = checkpoint.metadata.get("word_boundary")
    if "|" not in labels and isinstance(boundary, int) and 0 <= boundary < len(labels):
        labels[boundary] = "|"
    return labels


def _tokenizer(labels: list[str], metadata: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's settings: special labels by what the metadata says, else by name.

    Those that are no labels are none: transformers would add them, with numbers that the model
    has no outputs for.
    """
    blank, boundary, unknown = (
        labels[i] if isinstance(i := metadata.get(name), int) and 0 <= i < len(labels) else None
        for name in ("blank", "word_boundary", "unknown")
    )
    if blank is None:
        blank = next((name for name in BLANKS if name in labels), labels[0])
    if unknown is None:
        unknown = next((name for name in UNKNOWN if name in labels), None)
    if boundary is None and metadata.get("word_boundary", "|") is not None:
        boundary = "|"
    return {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": blank,
        "bos_token": "<s>" if "<s>" in labels else None,
        "eos_token": "</s>" if "</s>" in labels else None,
        "unk_token": unknown,
        "word_delimiter_token": boundary,
        "do_lower_case": False,
    }
