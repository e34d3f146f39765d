"""What commands show on stderr while a job runs: warnings, downloads, counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from w2v2cli.console import Advance, progress, say
from w2v2cli.processes import Ranks

if TYPE_CHECKING:
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
def counting(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that counts to a total, while stderr is a terminal."""
    with progress(label) as advance:

        def on_progress(done: int, total: int) -> None:
            advance(done, total, f"{label} {done}/{total}")

        yield on_progress


@contextmanager
def fetching() -> Iterator[OnProgress]:
    """Progress of downloads: a bar in a terminal, elsewhere a line for each file."""
    begun: set[str] = set()
    with progress("", " MB") as advance:

        def on_fetch(file: str, done: int, total: int | None) -> None:
            if file not in begun:
                begun.add(file)
                say(f"Fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))
            advance(done / 1e6, total / 1e6 if total else None, file)

        yield on_fetch


class TrainingReport:
    """The callbacks of a run: a progress bar on a terminal, lines on stderr otherwise."""

    def __init__(self, log_every: int, shown: Sequence[str], bars: ExitStack) -> None:
        self._log_every, self._shown, self._bars = log_every, shown, bars
        self._advance: Advance | None = None
        self._terminal = sys.stderr.isatty()

    def on_progress(self, progressed: Progress) -> None:
        """Move the bar; print a line every `log_every` updates, and after each validation."""
        from w2v2cli.training.runs.dry_run import duration

        update, updates, metrics = progressed.update, progressed.updates, progressed.metrics
        if self._advance is None:
            self._advance = self._bars.enter_context(progress("Training", f"/{updates}"))
        line = "  ".join(f"{name} {metrics[name]:.4g}" for name in self._shown if name in metrics)
        left = f"{duration(progressed.seconds_left)} left"
        validated = [name for name in metrics if name.startswith("valid") or name in RATES]
        if validated or (not self._terminal and update % self._log_every == 0):
            held_out = "".join(f"  {name} {metrics[name]:.4g}" for name in validated)
            say(f"update {update}/{updates}  {line}{held_out}  {left}")
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
