"""What commands show on stderr while a job runs: warnings, downloads, counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from w2v2cli.console import say
from w2v2cli.processes import Ranks
from w2v2cli.progress import (
    AUDIO,
    FILES,
    MEGABYTES,
    UPDATES,
    Advance,
    Unit,
    duration,
    progress,
)

if TYPE_CHECKING:
    from w2v2cli.data.decoding.hearing import AudioProgress
    from w2v2cli.data.hub import OnProgress
    from w2v2cli.training.metrics import Progress
    from w2v2cli.training.runs.result import RunResult

RATES = ("wer", "cer", "per", "wer_lm", "cer_lm")  # what a validation adds to the metrics


def warn(sentence: str) -> None:
    """Print a warning."""
    say(f"Warning: {sentence}")


def note(sentence: str) -> None:
    """Print a sentence as it is; of several processes only the first does."""
    Ranks.from_environment().say(sentence)


@contextmanager
def counting(label: str, unit: Unit = FILES) -> Iterator[Callable[[int, int], None]]:
    """Progress of a job over files, or what else it counts."""
    with progress(label, unit) as advance:
        yield lambda done, total: advance(done, total)


@contextmanager
def hearing(label: str) -> Iterator[Callable[[AudioProgress], None]]:
    """Progress of a job over recordings, by seconds of audio; their number, where several."""
    with progress(label, AUDIO) as advance:

        def on_heard(heard: AudioProgress) -> None:
            of = f" {heard.recordings}/{heard.of}" if heard.of > 1 else ""
            advance(heard.seconds, heard.total, f"{label}{of}")

        yield on_heard


@contextmanager
def fetching() -> Iterator[OnProgress]:
    """Progress of downloads, and a line for each file."""
    begun: set[str] = set()
    with progress("Fetching", MEGABYTES) as advance:

        def on_fetch(file: str, done: int, total: int | None) -> None:
            if file not in begun:
                begun.add(file)
                say(f"Fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))
            advance(done / 1e6, total / 1e6 if total else None, f"Fetching {file}")

        yield on_fetch


class TrainingReport:
    """The callbacks of a run: a progress bar on a terminal, lines on stderr otherwise."""

    def __init__(self, log_every: int, shown: Sequence[str], bars: ExitStack) -> None:
        self._log_every, self._shown, self._bars = log_every, shown, bars
        self._advance: Advance | None = None
        self._terminal = sys.stderr.isatty()

    def on_progress(self, progressed: Progress) -> None:
        """Move the bar; print a line every `log_every` updates, and after each validation."""
        update, updates, metrics = progressed.update, progressed.updates, progressed.metrics
        if self._advance is None and self._terminal:
            self._advance = self._bars.enter_context(progress("Training", UPDATES))
        line = "  ".join(f"{name} {metrics[name]:.4g}" for name in self._shown if name in metrics)
        left = f"{duration(progressed.seconds_left)} left"
        validated = [name for name in metrics if name.startswith("valid") or name in RATES]
        if validated or (not self._terminal and update % self._log_every == 0):
            held_out = "".join(f"  {name} {metrics[name]:.4g}" for name in validated)
            say(f"update {update}/{updates}  {line}{held_out}  {left}")
        if self._advance is not None:
            self._advance(update, updates, f"{line}  {left}")

    def warn(self, sentence: str) -> None:
        """Print a warning."""
        warn(sentence)

    def note(self, sentence: str) -> None:
        """Print a sentence as it is."""
        say(sentence)


@contextmanager
def training(log_every: int, shown: Sequence[str]) -> Iterator[TrainingReport]:
    """Report a run; `shown` metrics stand in the bar and in each line."""
    with ExitStack() as bars:
        yield TrainingReport(log_every, shown, bars)


def report_end(result: RunResult) -> None:
    """Print how a run ended, and how it continues when a signal stopped it."""
    if not Ranks.from_environment().first:
        return
    if not result.finished:
        say(
            f"Stopped by {result.stopped_by} after update {result.update}; all is saved. "
            "The same call continues it:"
        )
        say(" ".join(["  w2v2", *sys.argv[1:]]))
    elif not result.candidates:
        say(f"Done. The best checkpoint is {result.checkpoint}.")
    else:
        rate = result.judged_by.removesuffix("_lm").upper()
        typer.echo(f"peak rate  seed  validation {rate}  loss")
        for run in result.candidates:
            loss = "" if run.loss is None else f"{run.loss:.4g}"
            typer.echo(f"{run.peak_lr:<9g}  {run.seed:<4}  {run.score:<14.2%}  {loss}".rstrip())
        for spread in result.spreads:
            typer.echo(
                f"Mean of {spread.seeds} seeds at {spread.peak_lr:g}: {spread.mean:.2%}, "
                f"standard deviation {spread.deviation:.2%}"
            )
        say(f"The best of them is {result.checkpoint}.")
