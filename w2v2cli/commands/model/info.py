"""`w2v2 model info`: the architecture, labels and source of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2v2cli.commands.model.inputs import NAMED, Language, load
from w2v2cli.errors import exits

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.config import Wav2Vec2Config
    from w2v2cli.data.locations import ModelLocation


def info(
    name: Annotated[str, NAMED],
    language: Language = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of lines.")
    ] = False,
) -> None:
    """Describe a model: its architecture, parameters, labels and source."""
    with exits():
        location, checkpoint = load(name, language)
        facts = _facts(location, checkpoint)
        if as_json:
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        else:
            for key, value in facts.items():
                if value is not None:
                    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
                    typer.echo(f"{key + ':':<14} {shown}")


def _facts(location: ModelLocation, checkpoint: Checkpoint) -> dict[str, Any]:
    config, labels = checkpoint.config, checkpoint.labels
    return {
        "path": str(location.path),
        **({} if location.commit is None else {"commit": location.commit}),
        "parameters": sum(tensor.numel() for tensor in checkpoint.weights.values()),
        "encoder": f"{len(config.conv_layers)} convolutions, {config.conv_norm} norm, "
        f"a frame every {config.stride} samples",
        "context": f"{config.num_layers} blocks of width {config.width}, "
        f"{config.num_heads} heads, {config.norm_order}-norm{_adapters(config)}",
        "input": "zero mean and unit variance" if config.normalize_waveform else "as recorded",
        "labels": "none, it is only pretrained"
        if labels is None
        else f"{len(labels)}: {' '.join(labels)}",
        **checkpoint.metadata,
    }


def _adapters(config: Wav2Vec2Config) -> str:
    blocks = f", adapters of width {config.attention_adapter}" if config.attention_adapter else ""
    after = f", then {config.adapter_layers} convolutions" if config.adapter else ""
    return blocks + after
