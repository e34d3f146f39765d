"""Networks of other libraries with random weights, in the layouts of their checkpoints."""

from __future__ import annotations

import json
import warnings
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.config import Wav2Vec2Config, base, large, large_lv60k
from models.importers.fairseq import KEYS as FAIRSEQ
from models.importers.labels import STANDARD
from models.wav2vec2 import Wav2Vec2ForCTC

REDUCED: dict[str, Any] = {
    "conv_layers": tuple((32, kernel, stride) for _, kernel, stride in base().conv_layers),
    "width": 128,
    "ffn_width": 192,
    "num_layers": 3,
    "num_heads": 2,
    "position_kernel": 32,
    "position_groups": 4,
}
VARIANTS = {
    "base": replace(base(), **REDUCED),
    "large": replace(large(), **REDUCED),
    "lv60k": replace(large_lv60k(), **REDUCED),
}


def transformers_config(config: Wav2Vec2Config) -> Any:
    """Return the configuration of transformers for the same network."""
    from transformers import Wav2Vec2Config as TheirConfig

    channels, kernels, strides = zip(*config.conv_layers, strict=True)
    return TheirConfig(
        conv_dim=channels,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=config.conv_bias,
        feat_extract_norm=config.conv_norm,
        hidden_size=config.width,
        intermediate_size=config.ffn_width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        do_stable_layer_norm=config.norm_order == "pre",
        num_conv_pos_embeddings=config.position_kernel,
        num_conv_pos_embedding_groups=config.position_groups,
        num_codevector_groups=config.codebooks,
        num_codevectors_per_group=config.codebook_entries,
        codevector_dim=config.codebook_width,
        proj_codevector_dim=config.target_width,
        vocab_size=32,
        pad_token_id=0,
        layerdrop=0.0,
    )


def transformers_ctc(config: Wav2Vec2Config) -> Any:
    """Return transformers' network with random weights, ready for inference."""
    from transformers import Wav2Vec2ForCTC as Theirs

    torch.manual_seed(0)
    return shaken(Theirs(transformers_config(config)).eval())


def save_ctc(model: Any, folder: Path, normalize: bool = False, **options: Any) -> None:
    """Save transformers' network with the published alphabet and the extractor's settings."""
    model.save_pretrained(folder, **options)
    vocabulary = {label: i for i, label in enumerate(STANDARD)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalize}))


def torchaudio_model(config: Wav2Vec2Config) -> Any:
    """Return torchaudio's network with random weights, ready for inference."""
    import torchaudio

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own weight norm
        model = torchaudio.models.wav2vec2_model(
            extractor_mode="group_norm" if config.conv_norm == "group" else "layer_norm",
            extractor_conv_layer_config=list(config.conv_layers),
            extractor_conv_bias=config.conv_bias,
            encoder_embed_dim=config.width,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=config.position_kernel,
            encoder_pos_conv_groups=config.position_groups,
            encoder_num_layers=config.num_layers,
            encoder_num_heads=config.num_heads,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=config.ffn_width,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=config.norm_order == "pre",
            encoder_layer_drop=0.0,
            aux_num_out=32,
        )
    return shaken(model.eval())


def shaken(model: Any) -> Any:
    """Move norms and biases away from one and zero, so that a forgotten one is seen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.rand_like(parameter) * 0.2)
            elif "weight_g" in name or "original0" in name:
                parameter.mul_(1.3)
    return model


def fairseq_file(
    config: Wav2Vec2Config, layout: str, finetuned: bool
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the content of a fairseq checkpoint, and the same weights under our names.

    Args:
        layout: `argparse` or `hydra`, how the arguments of the run are stored.
    """
    torch.manual_seed(0)
    ours = shaken(Wav2Vec2ForCTC(config, 32)).state_dict()
    if not finetuned:
        ours = {name: w for name, w in ours.items() if not name.startswith("output.")}
        ours |= {
            "quantizer.codebook": torch.randn(
                config.codebooks * config.codebook_entries, config.codebook_width // 2
            ),
            "quantizer.projection.weight": torch.randn(
                config.codebooks * config.codebook_entries, 32
            ),
            "quantizer.projection.bias": torch.randn(config.codebooks * config.codebook_entries),
            "context_projection.weight": torch.randn(config.target_width, config.width),
            "context_projection.bias": torch.randn(config.target_width),
            "target_projection.weight": torch.randn(config.target_width, config.codebook_width),
            "target_projection.bias": torch.randn(config.target_width),
        }
    theirs = {}
    for name, tensor in ours.items():
        key = their_key(name, config)
        tensor = tensor.unsqueeze(0) if name == "quantizer.codebook" else tensor
        prefix = (
            ""
            if not finetuned
            else "w2v_encoder."
            if key.startswith("proj.")
            else "w2v_encoder.w2v_model."
        )
        theirs[prefix + key] = tensor
    return {"model": theirs, **fairseq_settings(config, layout, finetuned)}, ours


def their_key(name: str, config: Wav2Vec2Config) -> str:
    """fairseq's name of a weight, found by trying its table the other way round."""
    for theirs, ours in FAIRSEQ:
        if theirs.startswith("feature_extractor.conv_layers.{i}.2.") != (
            ".norm." in name and "feature_encoder" in name
        ):
            continue
        if (
            ".2.1." in theirs
            and config.conv_norm == "group"
            or (".2." in theirs and ".2.1." not in theirs and config.conv_norm == "layer")
        ):
            continue
        for i in range(100):
            if ours.format(i=i) == name:
                return theirs.format(i=i)
    raise AssertionError(name)


def fairseq_settings(config: Wav2Vec2Config, layout: str, finetuned: bool) -> dict[str, Any]:
    kernels = config.conv_layers
    listed = f"[{kernels[0]}] + [{kernels[1]}] * 4 + [{kernels[5]}] * 2"
    network = {
        "_name": "wav2vec2",
        "conv_feature_layers": listed,
        "conv_bias": config.conv_bias,
        "extractor_mode": "default" if config.conv_norm == "group" else "layer_norm",
        "encoder_embed_dim": config.width,
        "encoder_ffn_embed_dim": config.ffn_width,
        "encoder_layers": config.num_layers,
        "encoder_attention_heads": config.num_heads,
        "layer_norm_first": config.norm_order == "pre",
        "conv_pos": config.position_kernel,
        "conv_pos_groups": config.position_groups,
        "latent_groups": config.codebooks,
        "latent_vars": config.codebook_entries,
        "latent_dim": config.codebook_width,
        "final_dim": config.target_width,
    }
    normalize = config.normalize_waveform
    if layout == "argparse":
        inner = Namespace(**network, normalize=normalize, arch="wav2vec2")
        return {
            "args": Namespace(w2v_args=inner, normalize=normalize, arch="wav2vec_ctc")
            if finetuned
            else inner
        }
    inner_cfg = {
        "model": network,
        "task": {"normalize": normalize},
        "optimization": {"lr": [0.0005]},
    }
    outer = {
        "model": {"_name": "wav2vec_ctc", "w2v_args": inner_cfg},
        "task": {"normalize": normalize},
    }
    return {"args": None, "cfg": outer if finetuned else inner_cfg}
