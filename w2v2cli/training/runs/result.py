"""What a job of training returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from w2v2cli.data.locations import BEST
from w2v2cli.training.loop import Outcome
from w2v2cli.training.metrics import read_log


@dataclass(frozen=True)
class Candidate:
    """One of several runs that a selection chooses from."""

    folder: Path
    peak_lr: float
    seed: int
    score: float
    """Its lowest validation WER (or CER, PER), as a ratio."""
    loss: float | None = None
    """Validation loss there, in nats a label."""


@dataclass(frozen=True)
class Spread:
    """What the seeds of one learning rate came to."""

    peak_lr: float
    seeds: int
    mean: float
    """Mean of their scores."""
    deviation: float
    """Standard deviation of a sample, with seeds - 1 below the line."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended, and what it left."""

    folder: Path
    finished: bool
    """Whether the schedule came to its end; otherwise a signal stopped the run, and the same call
    continues it."""
    stopped_by: str | None
    """Name of that signal."""
    update: int
    """Updates done."""
    score: float
    """Lowest validation loss, WER, CER or PER so far; infinity before the first validation."""
    checkpoint: Path | None
    """The best checkpoint by validation; None where the run stopped before its first validation."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Everything logged of the update that the best checkpoint is from."""
    candidates: tuple[Candidate, ...] = ()
    """All runs of a selection, the best first; empty for a single run."""
    judged_by: str = "wer"
    """Name of the metric that `score` is of, as the log has it."""

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """Mean and deviation over the seeds of each learning rate, if there are several."""
        by_rate: dict[float, list[float]] = {}
        for run in self.candidates:
            by_rate.setdefault(run.peak_lr, []).append(run.score)
        return tuple(
            Spread(rate, len(scores), mean(scores), stdev(scores))
            for rate, scores in sorted(by_rate.items())
            if len(scores) > 1
        )


def result_of(outcome: Outcome, folder: Path, judged_by: str) -> RunResult:
    """Return the result of a run; `judged_by` is the metric whose lowest value is the best."""
    validated = [row for row in read_log(folder) if row.get(judged_by) is not None]
    best = min(validated, key=lambda row: float(row[judged_by]), default={})
    checkpoint = folder / BEST
    return RunResult(
        folder,
        outcome.finished,
        outcome.signal,
        outcome.update,
        outcome.best,
        checkpoint if checkpoint.is_file() else None,
        best,
        judged_by=judged_by,
    )
