"""The architecture of a run: a preset or a checkpoint's, with fields changed by `--set`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from models.config import PRESETS, Wav2Vec2Config
from w2v2cli.errors import UsageError

# What no weight depends on, so that a checkpoint does not fix it.
REGULARISATION = frozenset(
    "dropout attention_dropout activation_dropout feature_dropout quantizer_dropout final_dropout "
    "layer_drop".split()
)
# What a network without a quantizer does not have.
PRETRAINING_ONLY = frozenset(
    "quantizer_dropout codebooks codebook_entries codebook_width quantized_inputs "
    "quantized_targets target_width target_glu separate_encoders".split()
)
# What stands after the network, on whose every frame pretraining needs a target.
FINETUNING_ONLY = frozenset(
    "adapter adapter_layers adapter_kernel adapter_stride adapter_width".split()
)


def preset_of(name: str) -> str | None:
    """Return the preset of which a name such as `base-config` means random weights, or None."""
    preset = name.removesuffix("-config")
    return preset if preset != name and preset in PRESETS else None


def designed(
    network: Wav2Vec2Config, settings: Iterable[tuple[str, Any]], fixed_by: str | None = None
) -> Wav2Vec2Config:
    """Return an architecture with some of its fields changed.

    fixed_by: the checkpoint whose weights it has; only the regularisation may change then.

    Raises UsageError for a field that the checkpoint fixes to another value, and for values that
    make no network.
    """
    for name, value in settings:
        own = getattr(network, name)
        if fixed_by is not None and name not in REGULARISATION and value != own:
            raise UsageError(
                f"Setting {name}={value}: {fixed_by} has {name} {own}, which its weights fix; only "
                "random weights leave the choice."
            )
    try:
        return replace(network, **dict(settings))
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def refuse_pretraining_only(settings: Iterable[tuple[str, Any]]) -> None:
    """Raise UsageError for a field that a fine-tuned network does not have."""
    _refuse(
        settings,
        PRETRAINING_ONLY,
        "only pretraining has {name}, a fine-tuned network has no quantizer.",
    )


def refuse_finetuning_only(settings: Iterable[tuple[str, Any]]) -> None:
    """Raise UsageError for a field that a network in pretraining does not have."""
    _refuse(
        settings,
        FINETUNING_ONLY,
        "only fine-tuning has {name}, since an adapter leaves fewer frames than pretraining has "
        "targets.",
    )


def _refuse(settings: Iterable[tuple[str, Any]], names: Collection[str], why: str) -> None:
    for name, value in settings:
        if name in names:
            raise UsageError(f"Setting {name}={value}: {why.format(name=name)}")
