"""`w2v2 plot`: the curves of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.console import say
from w2v2cli.errors import exits


def plot(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs, drawn over each other.", metavar="RUN...")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A .png, .svg or .html file; curves.png in the first run."
        ),
    ] = None,
) -> None:
    """Draw what training runs logged, one curve for each metric."""
    with exits():
        from w2v2cli.training.curves import draw

        path = output or runs[0] / "curves.png"
        draw(runs, path)
        say(f"The curves are in {path}.")
