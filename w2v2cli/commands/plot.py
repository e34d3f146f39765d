"""`w2v2 plot`: the curves of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.console import say
from w2v2cli.errors import exits


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of training runs, drawn into one figure.", metavar="RUN..."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Figure to write: .png, .svg or .html. Default: curves.png in the first run.",
        ),
    ] = None,
) -> None:
    """Draw the metrics that training runs logged: a plot for each metric, a curve for each run."""
    with exits():
        from w2v2cli.training.curves import draw

        path = output or runs[0] / "curves.png"
        draw(runs, path)
        say(f"The curves are in {path}.")
