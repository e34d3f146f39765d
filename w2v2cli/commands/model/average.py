"""`w2v2 model average`: the mean of several networks' weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.model.inputs import load
from w2v2cli.errors import UsageError, UserError, exits, refuse_overwriting

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint


def average(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Two models or more of one architecture: names, folders or files.",
            metavar="NAME|PATH...",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where to write: a .safetensors file.", show_default=False
        ),
    ],
    half: Annotated[bool, typer.Option(help="Store matrices in float16: half the size.")] = False,
) -> None:
    """Write the mean of several models' weights, which often hears better than each of them.

    It does where they come from one start: two stages of a training, or runs from the same
    pretrained network. Compare them with w2v2 eval before you keep it.

    Examples:

      w2v2 model average runs/a runs/b -o mean.safetensors
      w2v2 eval --model mean.safetensors --split dev-other
    """
    with exits():
        from models import checkpoint

        if len(sources) < 2:
            raise UsageError("Name two models or more: the mean of one is that one.")
        if output.suffix != ".safetensors":
            raise UsageError(f"{output} should end in .safetensors.")
        try:
            mean = checkpoint.average(_read(source, output) for source in sources)
            output.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save_checkpoint(output, mean, half=half)
        except checkpoint.CheckpointError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror}.") from None
        typer.echo(f"{output} written, the mean of {len(sources)} models.", err=True)


def _read(source: str, output: Path) -> Checkpoint:
    """A model's weights. Raises UsageError where their file, a run's best too, is the output."""
    location, checkpoint = load(source, None)
    refuse_overwriting("--output", output, [location.path])
    return checkpoint
