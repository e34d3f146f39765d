"""The settings of a folder of transformers as our configuration, or the reason why they cannot be.

A setting without a place in our network is refused by name, never left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoint import CheckpointError
from models.config import SAMPLE_RATE, Wav2Vec2Config, base
from models.importers.families import FAMILIES, why_unreadable
from models.importers.tokenizer import LabelsError, json_file

# Settings that change the network, what they are in ours, and transformers' names for the same.
FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu", "gelu_python"),
    "feat_extract_activation": ("gelu", "gelu_python"),
    "layer_norm_eps": (1e-5,),
    "feat_proj_layer_norm": (True,),
    "conv_pos_batch_norm": (False,),
}


def family_prefix(settings: dict[str, Any], folder: Path) -> str:
    """The prefix of the weights' names. Raises CheckpointError for another network or head."""
    if (reason := why_unreadable(settings, folder)) is not None:
        raise CheckpointError(reason)
    return FAMILIES[settings["model_type"]]


def network_config(settings: dict[str, Any], folder: Path) -> Wav2Vec2Config:
    """Their configuration as ours; a missing value is that of BASE, as in transformers.

    Raises CheckpointError for a setting that our network has no place for and for a damaged file,
    ValueError or TypeError for values that make no network.
    """
    _check_fixed(settings, folder)
    default = base()
    stable = bool(settings.get("do_stable_layer_norm", False))
    channels, kernels, strides = zip(*default.conv_layers, strict=True)
    layers = zip(
        settings.get("conv_dim", channels),
        settings.get("conv_kernel", kernels),
        settings.get("conv_stride", strides),
        strict=True,
    )
    return replace(
        default,
        conv_layers=tuple(layers),
        conv_bias=settings.get("conv_bias", False),
        conv_norm=settings.get("feat_extract_norm", "group"),
        normalize_waveform=_normalize(folder),
        width=settings.get("hidden_size", default.width),
        ffn_width=settings.get("intermediate_size", default.ffn_width),
        num_layers=settings.get("num_hidden_layers", default.num_layers),
        num_heads=settings.get("num_attention_heads", default.num_heads),
        norm_order="pre" if stable else "post",
        position_kernel=settings.get("num_conv_pos_embeddings", default.position_kernel),
        position_groups=settings.get("num_conv_pos_embedding_groups", default.position_groups),
        # Blocks of the other kind have no adapter, whatever the setting says.
        attention_adapter=(settings.get("adapter_attn_dim") or 0) if stable else 0,
        **_convolutional_adapter(settings, folder),
        codebooks=settings.get("num_codevector_groups", default.codebooks),
        codebook_entries=settings.get("num_codevectors_per_group", default.codebook_entries),
        codebook_width=settings.get("codevector_dim", default.codebook_width),
        target_width=settings.get("proj_codevector_dim", default.target_width),
    )


def _convolutional_adapter(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Our fields for `add_adapter`, which only wav2vec2 itself has."""
    if not settings.get("add_adapter", False):
        return {}
    if settings.get("model_type") != "wav2vec2":
        raise CheckpointError(
            f"{folder / 'config.json'} sets add_adapter, which {settings.get('model_type')!r} "
            "models of transformers do not have."
        )
    width = settings.get("output_hidden_size")
    return {
        "adapter": True,
        "adapter_layers": settings.get("num_adapter_layers", base().adapter_layers),
        "adapter_kernel": settings.get("adapter_kernel_size", base().adapter_kernel),
        "adapter_stride": settings.get("adapter_stride", base().adapter_stride),
        "adapter_width": 0 if width in (None, settings.get("hidden_size", base().width)) else width,
    }


def _check_fixed(settings: dict[str, Any], folder: Path) -> None:
    for name, values in FIXED.items():
        value = settings.get(name, values[0])
        if value not in values:
            raise CheckpointError(
                f"{folder / 'config.json'} sets {name} to {value!r}, and w2v2 reads networks with "
                f"{values[0]!r} only."
            )


def _normalize(folder: Path) -> bool:
    """Whether waveforms are scaled, from the feature extractor's settings.

    transformers 5 writes them into processor_config.json, older ones into
    preprocessor_config.json; the newer file counts where both are there.
    """
    path = folder / "processor_config.json"
    extractor = json_object(path).get("feature_extractor") if path.is_file() else None
    if extractor is None:
        path = folder / "preprocessor_config.json"
        extractor = json_object(path) if path.is_file() else {}
    if not isinstance(extractor, dict):
        raise CheckpointError(f"{path} has a feature_extractor that is not a JSON object.")
    rate = extractor.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise CheckpointError(
            f"{path} sets sampling_rate to {rate!r}, and w2v2 reads models for {SAMPLE_RATE} Hz."
        )
    return bool(extractor.get("do_normalize", True))


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError."""
    try:
        return json_file(path)
    except LabelsError as error:
        raise CheckpointError(str(error)) from None
