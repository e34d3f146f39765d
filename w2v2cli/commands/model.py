"""`w2v2 model`: list, inspect, convert and verify acoustic models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from w2v2cli.commands.reporting import counting, fetching
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.config import Wav2Vec2Config
    from w2v2cli.data.locations import ModelLocation

app = typer.Typer(help="List, inspect, convert and verify acoustic models.", no_args_is_help=True)

NAMED = typer.Argument(
    help="A name (w2v2 model list), a repository of the hub (org/name), a folder or a file.",
    metavar="NAME|REPOSITORY|PATH",
    show_default=False,
)


Language = Annotated[
    str | None,
    typer.Option(
        help="Language of a model that has an adapter for each (MMS). Default: that of its main "
        "weights.",
        metavar="TAG",
    ),
]


@app.command("list")
def names() -> None:
    """List the names that --model takes, and say which models are on this machine.

    It takes any other repository of the hub too, as org/name or org/name@revision; those of
    wav2vec 2.0 that are on this machine follow the names.
    """
    with exits():
        from w2v2cli.data.hub import whole_models
        from w2v2cli.data.locations import PUBLISHED, found_here

        typer.echo("demo                   ships with w2v2")
        for name, repository in PUBLISHED.items():
            where = "on this machine" if found_here(name) else "fetched when asked for"
            typer.echo(f"{name:<22} {where}: {repository}")
        for name in sorted(whole_models() - {*PUBLISHED.values()}):
            typer.echo(f"{name:<22} on this machine")


@app.command()
def info(
    name: Annotated[str, NAMED],
    language: Language = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of lines.")
    ] = False,
) -> None:
    """Describe a model: its architecture, parameters, labels and source."""
    with exits():
        location, checkpoint = _load(name, language)
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


@app.command()
def convert(
    source: Annotated[str, NAMED],
    target: Annotated[
        Path,
        typer.Argument(help="Where to write: a .safetensors file, or a folder for huggingface."),
    ],
    to: Annotated[
        Literal["w2v2", "huggingface"],
        typer.Option(help="Format: one file of w2v2, or a folder that transformers reads."),
    ] = "w2v2",
    language: Language = None,
    lm: Annotated[
        str,
        typer.Option(
            help="For huggingface: language model that transformers' Wav2Vec2ProcessorWithLM "
            "reads beside the model: own, 4gram, an ARPA file or a KenLM binary."
        ),
    ] = "none",
    lexicon: Annotated[
        Path | None, typer.Option(help="Words of --lm. Default: all that it lists.")
    ] = None,
    half: Annotated[
        bool, typer.Option(help="Store matrices in float16: half the size (w2v2 only).")
    ] = False,
) -> None:
    """Write a model in another format.

    Examples:

      w2v2 model convert checkpoint_best.pt mine.safetensors
      w2v2 model convert demo FOLDER --to huggingface

      w2v2 model convert demo FOLDER --to huggingface --lm 4gram
    """
    with exits():
        from models.checkpoint import save_checkpoint
        from w2v2cli.data.locations import resolve_lm
        from w2v2cli.recognition.exporting import export

        if to == "huggingface" and half:
            raise UsageError("--half is for --to w2v2: transformers reads full precision.")
        if to == "w2v2" and target.suffix != ".safetensors":
            raise UsageError(f"{target} should end in .safetensors.")
        if to == "w2v2" and lm != "none":
            raise UsageError("--lm is for --to huggingface: a file of w2v2 holds none.")
        location, checkpoint = _load(source, language)
        with fetching() as on_progress:
            found = None if lm == "none" else resolve_lm(lm, location, lexicon, on_progress)
        try:
            if to == "w2v2":
                target.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(target, checkpoint, half=half)
            else:
                export(location, checkpoint, target, found, say)
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror}.") from None
        except ValueError as error:
            raise UserError(str(error)) from error
        typer.echo(f"{target} written.", err=True)


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A published model, or a repository of the hub (org/name). "
            "Default: all fetched models and language models.",
            metavar="[NAME]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare fetched files with the hashes that the hub stated, or that were recorded.

    Prints one line a file: ok, NO for one that differs or is missing, -- for one without a known
    hash. Exit code 1 when a file differs or is missing.
    """
    with exits():
        from w2v2cli.data.verification import check_file, fetched_files

        paths = fetched_files(name)
        if not paths:
            say("Nothing was fetched: there is nothing to verify.")
        wrong = 0
        with counting("Hashing") as on_progress:
            for done, path in enumerate(paths):
                on_progress(done, len(paths))
                check = check_file(path)
                wrong += check.fine is False
                mark = {True: "ok", False: "NO", None: "--"}[check.fine]
                typer.echo(f"{mark}  {check.path}: {check.finding}")
        if wrong:
            raise UserError(
                f"{wrong} of {len(paths)} files differ or are missing: delete those that differ, "
                "and the next use of the model fetches them again."
            )


def _load(name: str, language: str | None) -> tuple[ModelLocation, Checkpoint]:
    from models.importers.reader import read_model
    from w2v2cli.data.locations import resolve_model

    with fetching() as on_progress:
        location = resolve_model(name, on_progress, language)
    try:
        return location, read_model(location.path, language)
    except ValueError as error:
        raise UserError(str(error)) from error
