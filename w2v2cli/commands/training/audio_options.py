"""The options that `pretrain` and `finetune` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from w2v2cli.commands.training.run_options import BATCHES, RUN, TrainingFlags
from w2v2cli.errors import UsageError
from w2v2cli.help import Help

Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Folder of the run; a run in it is continued."),
]


@dataclass(frozen=True)
class AudioTrainingFlags(TrainingFlags):
    """What every training command on audio can be told."""

    shards: Annotated[
        str | None,
        Help(
            "WebDataset shards in place of corpora: their folder or a pattern "
            "(`w2v2 data shard` writes them)."
        ),
    ] = None
    data: Annotated[
        Path | None, Help("Folder that holds corpora given by name. Default: $W2V2_DATA.")
    ] = None
    batch_seconds: Annotated[
        float | None,
        Help(
            "Seconds of audio, padding included, per device and micro-batch; lower it when memory "
            "runs out. Default: the recipe's.",
            BATCHES,
        ),
    ] = None
    total_batch_hours: Annotated[
        float | None,
        Help(
            "Hours of audio per update over all devices; gradients are accumulated until it is "
            "reached. Default: the recipe's.",
            BATCHES,
        ),
    ] = None
    loader_workers: Annotated[
        int | None,
        Help(
            "Processes that read audio ahead, per device, at most as many as there are cores; 0 "
            "reads in the training process. Default: the recipe's.",
            BATCHES,
        ),
    ] = None
    recompute: Annotated[
        bool | None,
        Help(
            "Gradient checkpointing: recompute activations in the backward pass "
            "(less memory, slower).",
            RUN,
            flag="--recompute/--keep-activations",
        ),
    ] = None
    recipes: Annotated[bool, Help("List the recipes and train nothing.", flag="--recipes")] = False
    dry_run: Annotated[
        bool,
        Help(
            "Print size, memory, batches, schedule and all settings; train nothing.",
            RUN,
            flag="--dry-run",
        ),
    ] = False
    speed: Annotated[
        float | None,
        Help(
            "Speed assumed by --dry-run, in seconds of audio that a device trains this network on "
            "in a second. Default: measured on --device now.",
            RUN,
        ),
    ] = None

    def folder_to_train_in(self, corpora: list[str] | None, output: Path | None) -> Path | None:
        """Return the folder of the run that is asked for, or None where only a plan is.

        Raises UsageError where neither is clear, and where --resume finds nothing to continue.
        """
        if not self.dry_run and (not (corpora or self.shards) or output is None):
            raise UsageError(
                "Name the corpora to train on, and by -o the folder of the run (or --dry-run)."
            )
        if output is None or self.dry_run:
            return None
        self.check_resume(output)
        return output

    def _more(self) -> dict[str, Any]:
        return {
            "batch_seconds": self.batch_seconds,
            "total_batch_hours": self.total_batch_hours,
            "loader_workers": self.loader_workers,
            "recompute": self.recompute,
        }
