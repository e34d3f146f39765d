"""fairseq's `.pt` files, pretrained or fine-tuned, in the argparse or the newer hydra layout."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoint import Checkpoint, CheckpointError
from models.config import ConvLayer, Wav2Vec2Config, base
from models.importers.key_table import to_ours, with_parts
from models.importers.labels import STANDARD
from models.importers.weights import named_tensors
from storage.pickles import plain

FINETUNED = "w2v_encoder."
NETWORK = "w2v_encoder.w2v_model."
BLOCK = "encoder.layers.{i}"
OUR_BLOCK = "wav2vec2.context_network.blocks.{i}"
KEYS = (
    *with_parts(
        (
            ("feature_extractor.conv_layers.{i}.0", "wav2vec2.feature_encoder.layers.{i}.conv"),
            (
                "feature_extractor.conv_layers.{i}.2",
                "wav2vec2.feature_encoder.layers.{i}.norm",
            ),  # group norm
            (
                "feature_extractor.conv_layers.{i}.2.1",
                "wav2vec2.feature_encoder.layers.{i}.norm",
            ),  # layer norm
            ("layer_norm", "wav2vec2.feature_norm"),
            ("post_extract_proj", "wav2vec2.feature_projection"),
            ("encoder.layer_norm", "wav2vec2.context_network.norm"),
            (f"{BLOCK}.self_attn.q_proj", f"{OUR_BLOCK}.attention.query"),
            (f"{BLOCK}.self_attn.k_proj", f"{OUR_BLOCK}.attention.key"),
            (f"{BLOCK}.self_attn.v_proj", f"{OUR_BLOCK}.attention.value"),
            (f"{BLOCK}.self_attn.out_proj", f"{OUR_BLOCK}.attention.output"),
            (f"{BLOCK}.self_attn_layer_norm", f"{OUR_BLOCK}.attention_norm"),
            (f"{BLOCK}.fc1", f"{OUR_BLOCK}.feed_forward.expand"),
            (f"{BLOCK}.fc2", f"{OUR_BLOCK}.feed_forward.contract"),
            (f"{BLOCK}.final_layer_norm", f"{OUR_BLOCK}.feed_forward_norm"),
            ("proj", "output"),
            ("quantizer.weight_proj", "quantizer.projection"),
            ("final_proj", "context_projection"),
            ("project_q", "target_projection"),
        )
    ),
    ("mask_emb", "wav2vec2.mask_vector"),
    ("quantizer.vars", "quantizer.codebook"),
    ("encoder.pos_conv.0.bias", "wav2vec2.context_network.position.bias"),
    ("encoder.pos_conv.0.weight_g", "wav2vec2.context_network.position.weight_g"),
    ("encoder.pos_conv.0.weight_v", "wav2vec2.context_network.position.weight_v"),
)


def read_fairseq(content: Mapping[str, Any], path: Path) -> Checkpoint:
    """The content of a fairseq file as a checkpoint; its own configuration gives the architecture.

    A fine-tuned file does not hold its dictionary: `dict.ltr.txt` is read from the same folder.
    Without it, 32 outputs are taken for the alphabet of the published models.

    Raises CheckpointError for unknown weights, a configuration that is missing or impossible, and
    outputs without a dictionary.
    """
    weights = named_tensors(content["model"], path)
    finetuned = any(name.startswith(FINETUNED) for name in weights)
    if finetuned:
        weights = {
            name.removeprefix(NETWORK).removeprefix(FINETUNED): tensor
            for name, tensor in weights.items()
        }
    ours = to_ours(weights, KEYS, path, ignored=(r"_ema.*", r"encoder\.version"))
    if "quantizer.codebook" in ours:
        ours["quantizer.codebook"] = ours["quantizer.codebook"].squeeze(0)
    labels = _labels(len(ours["output.bias"]), path) if "output.bias" in ours else None
    settings = _settings(content, path)
    try:
        config = _config(settings)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} configures a network that cannot be: {error}.") from None
    return Checkpoint(config, ours, labels, {"source": f"fairseq file {path.name}"})


def _settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings of the network in one dict, from either layout.

    argparse: `args`, and in a fine-tuned file the pretrained model's own in `args.w2v_args`.
    hydra: `cfg.model` and `cfg.task`, and in a fine-tuned file `cfg.model.w2v_args`, which may have
    either layout. Where both have a value, that of the pretrained model describes the network.
    """
    whole = plain(content["cfg"]) if content.get("cfg") else plain(content.get("args"))
    if not isinstance(whole, dict):
        raise CheckpointError(
            f"{path} does not say how its network is built (it has neither cfg nor args)."
        )
    outer = _flat(whole)
    inner = _flat(outer["w2v_args"]) if isinstance(outer.get("w2v_args"), dict) else {}
    # Input normalisation belongs to the task: the fine-tuned model's value counts.
    return {**outer, **inner, "normalize": outer.get("normalize", inner.get("normalize", False))}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(settings.get("model"), dict):
        return settings
    return {**(settings.get("task") or {}), **settings["model"]}


def _config(settings: Mapping[str, Any]) -> Wav2Vec2Config:
    default = base()
    width = settings.get("encoder_embed_dim", default.width)
    target = settings.get("final_dim") or width
    return replace(
        default,
        conv_layers=parse_conv_layers(settings.get("conv_feature_layers")) or default.conv_layers,
        conv_bias=bool(settings.get("conv_bias", False)),
        conv_norm="layer"
        if str(settings.get("extractor_mode", "default")).endswith("layer_norm")
        else "group",
        normalize_waveform=bool(settings.get("normalize", False)),
        width=width,
        ffn_width=settings.get("encoder_ffn_embed_dim", default.ffn_width),
        num_layers=settings.get("encoder_layers", default.num_layers),
        num_heads=settings.get("encoder_attention_heads", default.num_heads),
        norm_order="pre" if settings.get("layer_norm_first", False) else "post",
        position_kernel=settings.get("conv_pos", default.position_kernel),
        position_groups=settings.get("conv_pos_groups", default.position_groups),
        codebooks=settings.get("latent_groups", default.codebooks),
        codebook_entries=settings.get("latent_vars", default.codebook_entries),
        codebook_width=settings.get("latent_dim") or target,
        target_width=target,
    )


def parse_conv_layers(text: str | None) -> tuple[ConvLayer, ...]:
    """`[(512, 10, 5)] + [(512, 3, 2)] * 4` as a tuple; empty without a text.

    Lists, sums and repetitions are read from the syntax tree; the text is never evaluated.
    Raises CheckpointError for anything else.
    """
    if not text:
        return ()
    try:
        layers = _listed(ast.parse(text, mode="eval").body)
        return tuple(
            (int(channels), int(kernel), int(stride)) for channels, kernel, stride in layers
        )
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise CheckpointError(
            f"conv_feature_layers is not a list of (channels, kernel, stride): {text!r}."
        ) from None


def _listed(node: ast.expr) -> list[Any]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _listed(node.left) + _listed(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        times = ast.literal_eval(node.right)
        if not isinstance(times, int) or not 0 <= times <= 100:
            raise ValueError(times)
        return _listed(node.left) * times
    value = ast.literal_eval(node)
    if not isinstance(value, list):
        raise ValueError(value)
    return value


def _labels(outputs: int, path: Path) -> tuple[str, ...]:
    """fairseq's dictionary: four special symbols, then those of `dict.ltr.txt`.

    fairseq's blank is `<s>`, index 0. The first two symbols get the names of Hugging Face's export
    instead, so that the blank is `<pad>` everywhere.
    """
    listing = path.parent / "dict.ltr.txt"
    if listing.is_file():
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise CheckpointError(f"{listing} is not UTF-8 text.") from None
        except OSError as error:
            raise CheckpointError(f"{listing} cannot be read: {error.strerror}.") from None
        symbols = [line.split()[0] for line in lines if line.strip()]
        labels = ("<pad>", "<s>", "</s>", "<unk>", *symbols)
        if len(labels) != outputs:
            raise CheckpointError(
                f"{path} has {outputs} outputs, but {listing} and the special symbols make "
                f"{len(labels)}."
            )
        return labels
    if outputs == len(STANDARD):
        return STANDARD
    raise CheckpointError(
        f"{path} has {outputs} outputs and no dictionary: put dict.ltr.txt into its folder."
    )
