"""The options of every run of training, on audio or on text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from w2v2cli.errors import UsageError
from w2v2cli.help import Help
from w2v2cli.processes import Ranks

BATCHES, RUN = "Batches", "Run"  # headings of --help


@dataclass(frozen=True)
class TrainingFlags:
    """What every training command can be told."""

    updates: Annotated[int | None, Help("Number of updates. Default: the recipe's.")] = None
    seed: Annotated[
        int | None,
        Help("Random seed of weights, order of data, masks and dropout. Default: the recipe's."),
    ] = None
    settings: Annotated[
        list[str] | None,
        Help(
            "Any setting of the recipe, by the name that --dry-run prints; may be repeated.",
            flag="--set",
            metavar="NAME=VALUE",
        ),
    ] = None
    patience: Annotated[
        int | None,
        Help(
            "End the run early when N validations in a row have brought nothing better; 0: never. "
            "Default: the recipe's, never."
        ),
    ] = None
    resume: Annotated[
        bool,
        Help(
            "Continue the run in OUTPUT, and begin none where there is none. The same call without "
            "it continues a run too.",
            flag="--resume",
        ),
    ] = False
    accumulate: Annotated[
        int | None, Help("Micro-batches that each device accumulates for an update.", BATCHES)
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None,
        Help(
            "Precision of the forward pass under autocast; weights stay in float32. auto is bf16 "
            "where the device has it in hardware, else fp16 on a GPU, fp32 on a CPU. "
            "Default: the recipe's, auto in most.",
            RUN,
        ),
    ] = None
    device: Annotated[
        str, Help("auto (a GPU if there is one), cpu, cuda or cuda:N.", RUN, metavar="DEVICE")
    ] = "auto"
    compile: Annotated[
        bool | None,
        Help(
            "Run each block through torch.compile: faster on GPUs after some minutes of compiling.",
            RUN,
            flag="--compile/--no-compile",
        ),
    ] = None
    log_every: Annotated[
        int, Help("Print a line every N updates where stderr is not a terminal.", RUN)
    ] = 50
    tensorboard: Annotated[
        bool, Help("Also write TensorBoard events into the run folder.", RUN, flag="--tensorboard")
    ] = False

    wandb: Annotated[
        bool,
        Help(
            "Also log to Weights & Biases, project w2v2 or $WANDB_PROJECT "
            "(WANDB_MODE=offline: into the run folder alone).",
            RUN,
            flag="--wandb",
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.log_every < 1:
            raise UsageError(f"--log-every must be at least 1, got {self.log_every}.")

    def changes(self, peak_lr: float | None = None) -> dict[str, Any]:
        """Return the settings that replace the recipe's, by name; those of --set come last.

        Raises UsageError for a --set without a `=`.
        """
        from w2v2cli.training.config import parse_settings

        given = {
            "schedule.updates": self.updates,
            "schedule.peak": peak_lr,
            "seed": self.seed,
            "patience": self.patience,
            "accumulate": self.accumulate,
            "precision": self.precision,
            "compile": self.compile,
            **self._more(),
        }
        kept = {name: value for name, value in given.items() if value is not None}
        return kept | parse_settings(self.settings or ())

    def check_resume(self, output: Path) -> None:
        """Raise UsageError where --resume finds nothing to continue.

        Only the first rank looks: the others need no folder in common with it.
        """
        first = Ranks.from_environment().first
        if self.resume and first and not any(output.rglob("state-*.pt")):
            raise UsageError(
                f"--resume finds no run to continue in {output}: without it the same call begins "
                "one."
            )

    def _more(self) -> dict[str, Any]:
        return {}
