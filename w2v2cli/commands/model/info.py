"""`w2v2 model info`: the architecture, labels and source of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2v2cli.commands.model.inputs import NAMED, Language, load
from w2v2cli.commands.reporting import fetching
from w2v2cli.errors import UserError, exits

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
    """Describe a model: its architecture, parameters, labels and source.

    Of a model that is not on this machine only the small files are fetched.
    """
    with exits():
        facts = _facts_from_afar(name, language)
        if facts is None:
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
    return {
        "path": str(location.path),
        **({} if location.commit is None else {"commit": location.commit}),
        "parameters": sum(tensor.numel() for tensor in checkpoint.weights.values()),
        **_network(checkpoint.config, checkpoint.labels),
        **checkpoint.metadata,
    }


def _facts_from_afar(name: str, language: str | None) -> dict[str, Any] | None:
    """What the small files of a model of the hub tell; None where its weights are on disk.

    Raises UsageError, UserError.
    """
    from w2v2cli.data.downloads import offline
    from w2v2cli.data.hub import cached_repository, fetch_settings, weights_size
    from w2v2cli.data.locations import ModelLocation, located_model

    found = located_model(name, language)
    if isinstance(found, ModelLocation) or offline() or cached_repository(found) is not None:
        return None
    from models.importers.huggingface import read_configuration
    from models.importers.labels import quick_outputs

    with fetching() as on_progress:
        folder = fetch_settings(found, on_progress)
    try:
        config = read_configuration(folder)
    except ValueError as error:
        raise UserError(str(error)) from error
    outputs = quick_outputs(folder, language)
    labels, metadata = (None, {}) if outputs is None else outputs
    size = weights_size(found, folder)
    return {
        "path": f"not on this machine, {size / 1e6:.1f} MB: w2v2 fetch {name}",
        "commit": folder.name,
        **_network(config, labels),
        **metadata,
    }


def _network(config: Wav2Vec2Config, labels: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        "encoder": f"{len(config.conv_layers)} convolutions, {config.conv_norm} norm, "
        f"a frame every {config.stride} samples",
        "context": f"{config.num_layers} blocks of width {config.width}, "
        f"{config.num_heads} heads, {config.norm_order}-norm{_adapters(config)}",
        "input": "zero mean and unit variance" if config.normalize_waveform else "as recorded",
        "labels": "none, it is only pretrained"
        if labels is None
        else f"{len(labels)}: {' '.join(labels)}",
    }


def _adapters(config: Wav2Vec2Config) -> str:
    blocks = f", adapters of width {config.attention_adapter}" if config.attention_adapter else ""
    after = f", then {config.adapter_layers} convolutions" if config.adapter else ""
    return blocks + after
