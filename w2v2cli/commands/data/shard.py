"""`w2v2 data shard`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.data.options import Jobs, processes_for
from w2v2cli.commands.data.report import print_some
from w2v2cli.console import complain, counted, say
from w2v2cli.errors import UsageError, UserError, exits
from w2v2cli.progress import RECORDINGS, progress

if TYPE_CHECKING:
    from w2v2cli.data.shards.writer import Sharded


def shard(
    corpora: Annotated[
        list[str], typer.Argument(help="Corpora by name or path.", metavar="CORPUS...")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for shard-NNNNNN.tar and their indexes."),
    ],
    shard_mb: Annotated[
        float | None,
        typer.Option("--shard-mb", help="Megabytes per shard, roughly. Default: 1000.", min=0.01),
    ] = None,
    shard_hours: Annotated[
        float | None,
        typer.Option(
            "--shard-hours",
            help="Hours of audio per shard, roughly (instead of --shard-mb).",
            min=0.0001,
        ),
    ] = None,
    jobs: Jobs = None,
    seed: Annotated[int, typer.Option(help="Random seed of the order: shards mix speakers.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds corpora named. Default: $W2V2_DATA.")
    ] = None,
) -> None:
    """Pack recordings into WebDataset shards, which pretrain and finetune stream.

    The same call goes on where an earlier one was interrupted. Recordings that cannot be read are
    left out and named; the exit code is then 1.

    Example:

      w2v2 data shard train-clean-100 train-clean-360 -o shards --shard-hours 20
    """
    with exits():
        if shard_mb is not None and shard_hours is not None:
            raise UsageError("--shard-mb and --shard-hours exclude each other: give one.")
        workers = processes_for(jobs)
        from w2v2cli.data.shards.writer import shard_corpora

        with progress("Packing", RECORDINGS) as advance:
            made = shard_corpora(
                corpora,
                output,
                data=data,
                shard_bytes=None if shard_mb is None else shard_mb * 1e6,
                shard_seconds=None if shard_hours is None else shard_hours * 3600,
                jobs=workers,
                seed=seed,
                on_progress=advance,
            )
        print_some(made.failures, tell=complain)
        say(f"{output}: {_summary(made)}")
        if failed := len(made.failures):
            raise UserError(
                f"{counted(failed, 'recording')} cannot be read; the shards are without them."
            )


def _summary(made: Sharded) -> str:
    skipped = f", {made.skipped} of them finished before" if made.skipped else ""
    return (
        f"{counted(made.shards, 'shard')}{skipped}, {counted(made.recordings, 'recording')}, "
        f"{made.hours:.2f} hours."
    )
