"""The options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.errors import UsageError
from w2v2cli.processes import usable_cores

Corpus = Annotated[
    Path,
    typer.Argument(help="Folder of recordings, corpus or manifest.", metavar="CORPUS"),
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Processes at a time. Default: one per core that this process may use."),
]
Hash = Annotated[
    bool,
    typer.Option(help="Read every byte for a SHA-256, which finds files with equal content."),
]


def processes_for(jobs: int | None) -> int:
    """The number of processes that `--jobs` asks for. Raises UsageError."""
    if jobs is None:
        return usable_cores()
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}.")
    return jobs
