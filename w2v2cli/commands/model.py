"""`w2v2 model`: which models there are, what is in one, and one format for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2v2cli.commands.options import fetching
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from w2v2cli.data.locations import ModelLocation

app = typer.Typer(help="List, inspect and convert acoustic models.", no_args_is_help=True)

NAMED = typer.Argument(help="A name, a folder or a file.", metavar="NAME|PATH")


@app.command("list")
def names() -> None:
    """The names that --model knows, and which are on this machine."""
    with exits():
        from storage.home import home
        from w2v2cli.data.locations import PUBLISHED, WEIGHTS

        typer.echo("demo                   ships with w2v2")
        for name, repository in PUBLISHED.items():
            folder = home() / "models" / name
            here = any((folder / file).is_file() for file in WEIGHTS)
            typer.echo(
                f"{name:<22} {'on this machine' if here else 'fetched when asked for'}: {repository}"
            )


@app.command()
def info(
    name: Annotated[str, NAMED],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object in place of lines.")
    ] = False,
) -> None:
    """Say what a model is: architecture, parameters, labels, where it comes from."""
    with exits():
        location, checkpoint = _load(name)
        facts = _facts(location, checkpoint)
        if as_json:
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        else:
            for key, value in facts.items():
                typer.echo(f"{key + ':':<14} {value}")


def _facts(location: ModelLocation, checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    labels = checkpoint.labels
    return {
        "path": str(location.path),
        "parameters": sum(tensor.numel() for tensor in checkpoint.weights.values()),
        "encoder": f"{len(config.conv_layers)} convolutions, {config.conv_norm} norm, a frame every {config.stride} samples",
        "context": f"{config.num_layers} blocks of width {config.width}, {config.num_heads} heads, {config.norm_order}-norm",
        "input": "zero mean and unit variance" if config.normalize_waveform else "as recorded",
        "labels": "none, it is only pretrained"
        if labels is None
        else f"{len(labels)}: {' '.join(labels)}",
        **checkpoint.metadata,
    }


@app.command()
def convert(
    source: Annotated[str, NAMED],
    target: Annotated[
        Path, typer.Argument(help="A .safetensors file, or a folder for transformers.")
    ],
    to: Annotated[
        str, typer.Option(help="w2v2, one file; or huggingface, a folder transformers reads.")
    ] = "w2v2",
    half: Annotated[bool, typer.Option(help="Store matrices in float16 (w2v2 only).")] = False,
) -> None:
    """Write a model in another format."""
    with exits():
        from models.checkpoint import save_checkpoint
        from models.importers.huggingface import write_huggingface

        if to not in ("w2v2", "huggingface"):
            raise UsageError(f"--to takes w2v2 or huggingface, got {to!r}.")
        if to == "huggingface" and half:
            raise UsageError("--half is for --to w2v2; transformers reads full precision.")
        if to == "w2v2" and target.suffix != ".safetensors":
            raise UsageError(f"{target} should end in .safetensors.")
        _, checkpoint = _load(source)
        try:
            if to == "w2v2":
                target.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(target, checkpoint, half=half)
            else:
                write_huggingface(checkpoint, target)
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror}.") from None
        except ValueError as error:
            raise UserError(str(error)) from error
        typer.echo(f"{target} written.", err=True)


def _load(name: str) -> tuple[ModelLocation, Checkpoint]:
    from models.importers.reader import read_model
    from w2v2cli.data.locations import resolve_model

    with fetching() as tell:
        location = resolve_model(name, tell)
    try:
        return location, read_model(location.path)
    except ValueError as error:
        raise UserError(str(error)) from error
