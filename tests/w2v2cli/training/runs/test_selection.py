"""The selection among runs keeps the best and says what it compared."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from w2v2cli.commands.reporting import report_end
from w2v2cli.data.locations import BEST
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.run_folder import Callbacks
from w2v2cli.training.runs.result import RunResult
from w2v2cli.training.runs.selection import run_all

ALONE = Collectives(Ranks(), torch.device("cpu"))
RECIPE = FINETUNING["demo"]()
CONFIGS = [
    replace(RECIPE, seed=seed, schedule=replace(RECIPE.schedule, peak=peak))
    for peak in (1e-4, 2e-4)
    for seed in (1, 2)
]
SCORES = {(1e-4, 1): 0.5, (1e-4, 2): 0.3, (2e-4, 1): 0.4, (2e-4, 2): 0.6}


def pretend(stop_at: int | None = None):
    """A run that only writes its checkpoint; the `stop_at`-th is stopped by a signal."""
    folders: list[Path] = []

    def run(config, folder: Path, collectives, callbacks) -> RunResult:
        folders.append(folder)
        folder.mkdir(parents=True)
        score = SCORES[config.schedule.peak, config.seed]
        (folder / BEST).write_text(f"{score}")
        stopped = len(folders) == stop_at
        signal = "SIGTERM" if stopped else None
        return RunResult(folder, not stopped, signal, 10, score, folder / BEST, {"wer": score})

    return run, folders


def test_the_best_of_all_runs_is_kept_whatever_its_place(tmp_path):
    run, folders = pretend()
    notes = []
    found = run_all(run, CONFIGS, tmp_path, ALONE, Callbacks(note=notes.append))
    assert [folder.name for folder in folders] == [
        "lr0.0001-seed1", "lr0.0001-seed2", "lr0.0002-seed1", "lr0.0002-seed2"
    ]  # fmt: skip
    assert found.checkpoint == tmp_path / BEST and found.checkpoint.read_text() == "0.3"
    assert (found.folder, found.score, found.metrics) == (tmp_path, 0.3, {"wer": 0.3})
    assert [candidate.score for candidate in found.candidates] == [0.3, 0.4, 0.5, 0.6]
    assert (found.candidates[0].peak_lr, found.candidates[0].seed) == (1e-4, 2)
    assert notes[0] == "Run 1 of 4: lr0.0001-seed1" and len(notes) == 8


def test_a_run_that_is_stopped_stops_the_selection_and_keeps_nothing(tmp_path):
    run, folders = pretend(stop_at=2)
    found = run_all(run, CONFIGS, tmp_path, ALONE, Callbacks())
    assert len(folders) == 2
    assert (found.finished, found.stopped_by, found.folder) == (False, "SIGTERM", folders[1])
    assert not (tmp_path / BEST).exists()


def test_a_run_that_fails_leaves_an_older_best_as_it_was(tmp_path):
    (tmp_path / BEST).write_text("old")

    def run(config, folder, collectives, callbacks):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run_all(run, CONFIGS, tmp_path, ALONE, Callbacks())
    assert (tmp_path / BEST).read_text() == "old"


def test_seeds_have_a_mean_and_the_deviation_of_a_sample(tmp_path, capsys):
    found = run_all(pretend()[0], CONFIGS, tmp_path, ALONE, Callbacks())
    low, high = found.spreads
    assert (low.peak_lr, low.seeds, high.peak_lr) == (1e-4, 2, 2e-4)
    assert low.mean == pytest.approx(0.4) and low.deviation == pytest.approx(0.02**0.5)
    report_end(found)
    told = capsys.readouterr().out
    assert "Mean of 2 seeds at 0.0001: 40.00%, standard deviation 14.14%" in told


def test_one_seed_has_no_deviation(tmp_path):
    assert run_all(pretend()[0], CONFIGS[::2], tmp_path, ALONE, Callbacks()).spreads == ()
