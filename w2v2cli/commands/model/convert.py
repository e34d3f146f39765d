"""`w2v2 model convert`: a model in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.model.inputs import NAMED, Language, load
from w2v2cli.commands.reporting import fetching
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits


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
        location, checkpoint = load(source, language)
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
