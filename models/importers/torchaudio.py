"""State dicts of torchaudio's `wav2vec2_model`; names and shapes give the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError
from models.config import Wav2Vec2Config, base
from models.importers.key_table import to_ours, with_parts
from models.importers.labels import STANDARD, TORCHAUDIO

POSITION = "encoder.transformer.pos_conv_embed.conv"
BLOCK = "encoder.transformer.layers.{i}"
OUR_BLOCK = "wav2vec2.context_network.blocks.{i}"
KEYS = (
    *with_parts(
        (
            ("feature_extractor.conv_layers.{i}.conv", "wav2vec2.feature_encoder.layers.{i}.conv"),
            (
                "feature_extractor.conv_layers.{i}.layer_norm",
                "wav2vec2.feature_encoder.layers.{i}.norm",
            ),
            ("encoder.feature_projection.layer_norm", "wav2vec2.feature_norm"),
            ("encoder.feature_projection.projection", "wav2vec2.feature_projection"),
            ("encoder.transformer.layer_norm", "wav2vec2.context_network.norm"),
            (f"{BLOCK}.attention.q_proj", f"{OUR_BLOCK}.attention.query"),
            (f"{BLOCK}.attention.k_proj", f"{OUR_BLOCK}.attention.key"),
            (f"{BLOCK}.attention.v_proj", f"{OUR_BLOCK}.attention.value"),
            (f"{BLOCK}.attention.out_proj", f"{OUR_BLOCK}.attention.output"),
            (f"{BLOCK}.layer_norm", f"{OUR_BLOCK}.attention_norm"),
            (f"{BLOCK}.feed_forward.intermediate_dense", f"{OUR_BLOCK}.feed_forward.expand"),
            (f"{BLOCK}.feed_forward.output_dense", f"{OUR_BLOCK}.feed_forward.contract"),
            (f"{BLOCK}.final_layer_norm", f"{OUR_BLOCK}.feed_forward_norm"),
            ("aux", "output"),
        )
    ),
    (f"{POSITION}.bias", "wav2vec2.context_network.position.bias"),
    (f"{POSITION}.weight_g", "wav2vec2.context_network.position.weight_g"),
    (f"{POSITION}.weight_v", "wav2vec2.context_network.position.weight_v"),
    (f"{POSITION}.parametrizations.weight.original0", "wav2vec2.context_network.position.weight_g"),
    (f"{POSITION}.parametrizations.weight.original1", "wav2vec2.context_network.position.weight_v"),
)
HEAD_WIDTH = 64  # that of every published model; the file does not contain it


def read_torchaudio(weights: Mapping[str, Tensor], path: Path) -> Checkpoint:
    """A state dict as a checkpoint.

    The mask vector is zero: these files lack it, and recognition does not use it. 29 outputs are
    torchaudio's alphabet, 32 that of the published models. A model whose feature encoder has layer
    norms expects normalised input, as torchaudio's bundles do.

    Raises CheckpointError for weights that are unknown or missing, and for other outputs.
    """
    ours = to_ours(
        weights, KEYS, path, ignored=(r"mask_generator\..*", r"model\.mask_generator\..*")
    )
    try:
        config = _config(ours, path)
    except KeyError as missing:
        raise CheckpointError(f"{path} lacks the weight {missing.args[0]}.") from None
    except CheckpointError:
        raise
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} has weights of impossible shapes: {error}.") from None
    ours["wav2vec2.mask_vector"] = torch.zeros(config.width)
    alphabets = {len(STANDARD): STANDARD, len(TORCHAUDIO): TORCHAUDIO}
    labels = None
    if "output.bias" in ours:
        labels = alphabets.get(len(ours["output.bias"]))
        if labels is None:
            raise CheckpointError(
                f"{path} has {len(ours['output.bias'])} outputs and does not say what they mean."
            )
    return Checkpoint(config, ours, labels, {"source": f"torchaudio state dict {path.name}"})


def _config(ours: Mapping[str, Tensor], path: Path) -> Wav2Vec2Config:
    layers = "wav2vec2.feature_encoder.layers"
    kernels = [ours[f"{layers}.{i}.conv.weight"].shape for i in range(len(base().conv_layers))]
    strides = [stride for _, _, stride in base().conv_layers]
    width, group_width, kernel = ours["wav2vec2.context_network.position.weight_v"].shape
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} has a width of {width}, which is not a multiple of {HEAD_WIDTH}: "
            "the number of its attention heads is unknown."
        )
    layer_normed = f"{layers}.1.norm.weight" in ours
    return replace(
        base(),
        conv_layers=tuple(
            (shape[0], shape[2], stride) for shape, stride in zip(kernels, strides, strict=True)
        ),
        conv_bias=f"{layers}.0.conv.bias" in ours,
        conv_norm="layer" if layer_normed else "group",
        normalize_waveform=layer_normed,
        width=width,
        ffn_width=len(ours["wav2vec2.context_network.blocks.0.feed_forward.expand.bias"]),
        num_layers=len(
            {
                name.split(".")[3]
                for name in ours
                if name.startswith("wav2vec2.context_network.blocks.")
            }
        ),
        num_heads=width // HEAD_WIDTH,
        norm_order="pre" if layer_normed else "post",
        position_kernel=kernel,
        position_groups=width // group_width,
    )
