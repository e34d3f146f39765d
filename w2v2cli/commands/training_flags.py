"""The options that the training commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from w2v2cli.errors import UsageError
from w2v2cli.help import Help

BATCHES, RUN, TEXT = "Batches", "Run", "Text"  # headings of --help


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

    def __post_init__(self) -> None:
        if self.log_every < 1:
            raise UsageError(f"--log-every must be at least 1, got {self.log_every}.")

    wandb: Annotated[
        bool,
        Help(
            "Also log to Weights & Biases, project w2v2 or $WANDB_PROJECT "
            "(WANDB_MODE=offline: into the run folder alone).",
            RUN,
            flag="--wandb",
        ),
    ] = False

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
        """Raise UsageError where --resume finds nothing to continue."""
        if self.resume and not any(output.rglob("state-*.pt")):
            raise UsageError(
                f"--resume finds no run to continue in {output}: without it the same call begins "
                "one."
            )

    def _more(self) -> dict[str, Any]:
        return {}


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


@dataclass(frozen=True)
class _Pretraining:
    recipe: Annotated[
        str,
        Help(
            "Settings by name: base-960, large-960, large-lv60k (the paper's models), "
            "large-lv60k-reference (fairseq's settings), base-960-8-heads, small (3 M parameters, "
            "for two CPU cores), ablation (the baseline of the paper's ablations) or "
            "ablation-ROW (a row of its tables 4, 5 and 13; --recipes lists them).",
            metavar="NAME",
        ),
    ] = "base-960"
    valid: Annotated[
        str | None,
        Help("Corpus to validate on, or several (A+B). Default: one recording in a hundred."),
    ] = None
    model: Annotated[
        str | None,
        Help(
            "Pretrained model to start from: a name, a repository of the Hugging Face hub "
            "(org/name), a folder or a file. Default: random weights."
        ),
    ] = None
    peak_lr: Annotated[float | None, Help("Peak learning rate. Default: the recipe's.")] = None


@dataclass(frozen=True)
class PretrainFlags(AudioTrainingFlags, _Pretraining):
    """The options of `w2v2 pretrain`, in the order of its help."""


@dataclass(frozen=True)
class _Finetuning:
    model: Annotated[
        str,
        Help(
            "Model to start from: a name, a repository of the Hugging Face hub (org/name), a "
            "folder or a file. Or random weights: base-config, demo-config, ..."
        ),
    ] = "demo-config"
    recipe: Annotated[
        str,
        Help(
            "Settings by name: base- or large- with 10m, 1h, 10h, 100h or 960h (fairseq's), the "
            "same after paper- (the paper's table), timit (LARGE), timit-base, ablation (after "
            "`w2v2 pretrain --recipe ablation-ROW`), scratch, demo; --recipes lists them.",
            metavar="NAME",
        ),
    ] = "demo"
    valid: Annotated[
        str | None,
        Help(
            "Corpus to validate on, or several (dev-clean+dev-other). Default: dev-other for "
            "LibriSpeech and Libri-light, else a tenth of the corpora, by speaker where speakers "
            "are known."
        ),
    ] = None
    lm: Annotated[
        str,
        Help(
            "Validate with this language model too: 4gram (LibriSpeech's, for English "
            "transcripts) or a file (beam 50, weights 2 and -1, as in the paper)."
        ),
    ] = "none"
    lexicon: Annotated[Path | None, Help("Lexicon for --lm (see `w2v2 transcribe --help`).")] = None
    seeds: Annotated[
        int,
        Help("Train N times with different seeds and keep the best by validation (paper: 3)."),
    ] = 1
    alphabet: Annotated[
        str | None,
        Help(
            "Characters of the output layer: auto (those of the transcripts; the published English "
            "symbols where the letters are among A to Z), english, checkpoint (those of --model), "
            "or a file with a symbol on each line. Default: auto.",
            TEXT,
            metavar="NAME",
        ),
    ] = None
    normalizer: Annotated[
        Literal["auto", "english", "basic", "none"] | None,
        Help(
            "How transcripts are spelled: english (A to Z, numbers in words), basic (any language: "
            "Unicode NFC, one case, no punctuation) or none. Default: english for the English "
            "alphabet, else basic.",
            TEXT,
        ),
    ] = None
    case: Annotated[
        Literal["auto", "upper", "lower", "keep"] | None,
        Help("Case of the letters. Default: that of the alphabet, else lower.", TEXT),
    ] = None
    language: Annotated[
        str | None,
        Help(
            "Language of the transcripts; tr and az (Turkish, Azeri) tell i from ı in both cases. "
            "A model with an adapter for each language (MMS) starts from this one's: tur, rus, ...",
            TEXT,
            metavar="TAG",
        ),
    ] = None
    peak_lr: Annotated[
        list[float] | None,
        Help(
            "Peak learning rate; of several (`--peak-lr 2e-5 3e-5`) the best is kept. "
            "Default: the recipe's.",
            metavar="RATE...",
        ),
    ] = None


@dataclass(frozen=True)
class FinetuneFlags(AudioTrainingFlags, _Finetuning):
    """The options of `w2v2 finetune`, in the order of its help."""

    def _more(self) -> dict[str, Any]:
        text = {
            "alphabet": self.alphabet,
            "normalizer": self.normalizer,
            "case": self.case,
            "language": self.language,
        }
        return super()._more() | text
