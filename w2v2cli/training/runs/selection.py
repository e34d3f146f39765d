"""The paper's selection: train with several seeds and learning rates, keep the best (§4.3)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from storage.whole import whole_file
from w2v2cli.data.locations import BEST
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import FinetuneConfig
from w2v2cli.training.run_folder import Callbacks
from w2v2cli.training.runs.result import Candidate, RunResult

Run = Callable[[FinetuneConfig, Path, Collectives, Callbacks], RunResult]


def run_all(
    run: Run,
    configs: Sequence[FinetuneConfig],
    output: Path,
    collectives: Collectives,
    callbacks: Callbacks,
) -> RunResult:
    """Carry out a run for each configuration, in a folder each; keep the best checkpoint.

    Returns the result of the best run, in folder `output`; or, when a signal stops a run, the
    result of that one.
    """
    results: list[tuple[Candidate, RunResult]] = []
    for config in configs:
        folder = output / f"lr{config.schedule.peak:g}-seed{config.seed}"
        if collectives.first:
            callbacks.note(f"Run {len(results) + 1} of {len(configs)}: {folder.name}")
        result = run(config, folder, collectives, callbacks)
        if not result.finished:
            return result
        if collectives.first:
            callbacks.note(f"Done. The best checkpoint is {folder / BEST}.")
        loss = result.metrics.get("valid_loss")
        candidate = Candidate(folder, config.schedule.peak, config.seed, result.score, loss)
        results.append((candidate, result))
    results.sort(key=lambda item: item[0].score)
    best = output / BEST
    if collectives.first:
        with whole_file(best) as beside:
            shutil.copyfile(results[0][0].folder / BEST, beside)
    candidates = tuple(candidate for candidate, _ in results)
    return replace(results[0][1], folder=output, checkpoint=best, candidates=candidates)
