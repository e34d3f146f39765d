"""What `pretrain` and `finetune` share: their options, how they report, and what a dry run prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2v2cli.console import progress, say

if TYPE_CHECKING:
    from torch import nn

    from models.config import Wav2Vec2Config
    from w2v2cli.data.dataset import LeftOut, TrainingSet
    from w2v2cli.data.recordings import Recordings
    from w2v2cli.data.utterance import Utterance
    from w2v2cli.training.collectives import Ranks
    from w2v2cli.training.config import AudioRunConfig
    from w2v2cli.training.loop import Outcome
    from w2v2cli.training.metrics import Pace
    from w2v2cli.training.run_folder import Telling

BATCHES = "Batches"
RUN = "Run"
RATES = ("wer", "cer", "per", "wer_lm", "cer_lm")  # what a validation adds to the metrics
SHOWN = 5  # utterances left out that are named, one line each

Output = Annotated[
    Path, typer.Option("-o", "--output", help="Folder of the run; an existing one is continued.")
]
Data = Annotated[
    Path | None, typer.Option(help="Folder that holds the corpora named; else $W2V2_DATA.")
]
Shards = Annotated[
    str | None,
    typer.Option(
        help="WebDataset shards in place of corpora: their folder or a pattern (w2v2 data shard writes them)."
    ),
]
Updates = Annotated[int | None, typer.Option(help="In place of the recipe's.", min=1)]
PeakLr = Annotated[float | None, typer.Option(help="In place of the recipe's.")]
Seed = Annotated[int | None, typer.Option(help="In place of the recipe's.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting of the recipe, name=value; --dry-run shows them.",
        metavar="NAME=VALUE",
    ),
]
BatchSeconds = Annotated[
    float | None,
    typer.Option(help="Padded audio on one device at a time.", rich_help_panel=BATCHES),
]
TotalBatchHours = Annotated[
    float | None,
    typer.Option(
        help="Padded audio of one update: accumulates what the devices lack.",
        rich_help_panel=BATCHES,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(help="Micro-batches of one device in an update.", min=1, rich_help_panel=BATCHES),
]
LoaderWorkers = Annotated[
    int | None,
    typer.Option(
        help="Processes that read audio, for each device.", min=0, rich_help_panel=BATCHES
    ),
]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.", rich_help_panel=RUN)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUN)]
LogEvery = Annotated[
    int, typer.Option(help="Updates between two lines.", min=1, rich_help_panel=RUN)
]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write events too.", rich_help_panel=RUN)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do not.", rich_help_panel=RUN)
]
Compile = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="torch.compile.", rich_help_panel=RUN)
]
Recompute = Annotated[
    bool | None,
    typer.Option(
        "--recompute/--keep-activations", help="Less memory, more time.", rich_help_panel=RUN
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        help="For --dry-run: seconds of audio a device trains on in a second.", rich_help_panel=RUN
    ),
]


def read_utterances(names: Sequence[str], data: Path | None) -> list[Utterance]:
    """The utterances of all corpora named: folders, manifests and known names; NAME@8 counts eight times."""
    from w2v2cli.data.corpora.catalogue import find_training_corpus

    utterances: list[Utterance] = []
    for name in names:
        path, _, times = name.rpartition("@")
        count = 1
        if path and times.isdigit() and int(times) > 0 and not Path(name).exists():
            name, count = path, int(times)
        utterances += find_training_corpus(name, data) * count
    return utterances


def read_source(
    names: Sequence[str], shards: str | None, data: Path | None, phones: bool = False
) -> Recordings:
    """The recordings of all corpora named, or of shards; UsageError for both. phones: take those for the text."""
    from w2v2cli.data.recordings import FileRecordings
    from w2v2cli.data.shards.reader import ShardRecordings
    from w2v2cli.errors import UsageError

    if shards is None:
        utterances = read_utterances(names, data)
        if phones:
            utterances = [
                replace(u, text=None if u.phones is None else " ".join(u.phones))
                for u in utterances
            ]
        return FileRecordings(utterances)
    if names:
        raise UsageError(f"--shards {shards} and {names[0]}: give either shards or corpora.")
    if phones:
        raise UsageError("Phones are read from corpora (timit-train), not from --shards.")
    return ShardRecordings(shards)


def batch_described(config: AudioRunConfig, world: int, data: TrainingSet | None = None) -> str:
    """What makes one update, as it is said."""
    from w2v2cli.training.run_folder import accumulation

    wanted = config.accumulation(world)
    accumulate = wanted if data is None else accumulation(config, data, world)
    hours = config.batch_seconds * world * accumulate / 3600
    fewer = (
        f" ({wanted} would make the total batch, an epoch has no more)"
        if accumulate < wanted
        else ""
    )
    processes = "1 process" if world == 1 else f"{world} processes"
    return f"{config.batch_seconds:.1f} s × {processes} × {accumulate} accumulated = {hours:.3f} h an update{fewer}"


def network_described(network: nn.Module) -> str:
    """Its size, as it is said."""
    from w2v2cli.training.run_folder import network_size

    return f"The network has {network_size(network) / 1e6:.1f} M parameters."


def tell_left_out(left_out: Sequence[LeftOut], ranks: Ranks) -> None:
    """Name the first few, count the rest."""
    if not ranks.first:
        return
    for utterance in left_out[:SHOWN]:
        say(f"Left out: {utterance.id}: {utterance.reason}.")
    if len(left_out) > SHOWN:
        say(f"Left out: {len(left_out) - SHOWN} more.")


@contextmanager
def telling(ranks: Ranks, log_every: int, updates: int, shown: Sequence[str]) -> Iterator[Telling]:
    """A bar while stderr is a terminal, a line every `log_every` updates otherwise; `shown` metrics stand in both."""
    from w2v2cli.training.run_folder import Telling

    def warn(sentence: str) -> None:
        say(f"Warning: {sentence}" if not sentence.startswith("Left out") else sentence)

    if not ranks.first:
        yield Telling(lambda metrics, pace: None, warn)
        return
    terminal = sys.stderr.isatty()
    with progress("Training", f"/{updates}") as advance:

        def report(metrics: dict[str, Any], pace: Pace) -> None:
            line = "  ".join(f"{name} {metrics[name]:.4g}" for name in shown if name in metrics)
            validated = {
                name: value
                for name, value in metrics.items()
                if name.startswith("valid") or name in RATES
            }
            if validated or (not terminal and metrics["update"] % log_every == 0):
                held_out = "".join(f"  {name} {value:.4g}" for name, value in validated.items())
                say(
                    f"update {metrics['update']}/{updates}  {line}{held_out}  {duration(pace.seconds_left)} left"
                )
            advance(metrics["update"], updates, f"{line}  {duration(pace.seconds_left)} left")

        yield Telling(report, warn)


def tell_outcome(outcome: Outcome, output: Path, ranks: Ranks) -> None:
    """How the run ended, and how it goes on when it was stopped."""
    if not ranks.first:
        return
    if outcome.finished:
        say(f"Done. The best checkpoint is {output / 'best.safetensors'}.")
    else:
        say(
            f"Stopped by {outcome.signal} after update {outcome.update}; all is saved. The same call goes on:"
        )
        say(" ".join(["  w2v2", *sys.argv[1:]]))


def duration(seconds: float) -> str:
    """A time as a person says it."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def print_plan(
    config: AudioRunConfig,
    network: nn.Module,
    model: Wav2Vec2Config,
    data: TrainingSet | None,
    world: int,
    speed: float,
) -> None:
    """What a run would do, on stdout. speed: seconds of audio a device trains on in a second, to tell the time by."""
    from dataclasses import asdict

    from w2v2cli.training.run_folder import accumulation, memory_estimate, network_size, reading_of

    accumulate = config.accumulation(world) if data is None else accumulation(config, data, world)
    total = config.batch_seconds * world * accumulate
    rows = [
        ("parameters", f"{network_size(network) / 1e6:.1f} M"),
        ("memory", f"about {memory_estimate(network, model, config):.1f} GB on each device"),
        ("batch", batch_described(config, world, data)),
        ("learning rate", config.schedule.described()),
        (
            "updates",
            f"{config.schedule.updates}, {config.schedule.updates * total / 3600:.0f} h of audio at most",
        ),
    ]
    if data is not None:
        epoch = reading_of(config).epoch(data, 0)
        steps = len(epoch) / (world * accumulate)
        rows.append(
            (
                "data",
                f"{len(data)} utterances, {data.hours:.1f} h, {len(epoch)} micro-batches, {steps:.1f} updates an epoch",
            )
        )
        rows.append(("epochs", f"{config.schedule.updates / steps:.1f}"))
    needed = config.schedule.updates * config.batch_seconds * accumulate / speed
    rows.append(
        ("time", f"{duration(needed)} at {speed:.0f} s of audio a second on each device (--speed)")
    )
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")
    typer.echo("\nsettings (--set)")
    for name, value in flattened(asdict(config)):
        typer.echo(f"  {name} = {value}")


def flattened(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots, and their values."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def run_options(
    seed: int | None,
    batch_seconds: float | None,
    total_batch_hours: float | None,
    accumulate: int | None,
    loader_workers: int | None,
    precision: str | None,
    compiled: bool | None,
    recompute: bool | None,
) -> dict[str, Any]:
    """The options that replace fields of any recipe; --accumulate goes before the recipe's total batch."""
    from w2v2cli.errors import UsageError

    if precision not in (None, "fp32", "bf16", "fp16"):
        raise UsageError(f"--precision takes fp32, bf16 or fp16, got {precision!r}.")
    if accumulate is not None and total_batch_hours is not None:
        raise UsageError(
            "--accumulate and --total-batch-hours both say how many batches make an update: give one."
        )
    if accumulate is not None:
        total_batch_hours = 0.0
    return {
        "seed": seed, "batch_seconds": batch_seconds, "total_batch_hours": total_batch_hours, "accumulate": accumulate,
        "loader_workers": loader_workers, "precision": precision, "compile": compiled, "recompute": recompute,
    }  # fmt: skip
