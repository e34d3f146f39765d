"""A run continues from the state of its first rank, and only what it is a run of continues it."""

import json
from pathlib import Path

import pytest
from calls import on_two_ranks

from w2v2cli.errors import UsageError
from w2v2cli.training.runs.pretrain import pretrain

CORPUS = Path(__file__).parents[3] / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
VALID = CORPUS.with_name("dev-other")
SETTINGS = {
    "model": "tiny",
    "shortest_seconds": 0.5,
    "crop_seconds": 1,
    "batch_seconds": 3,
    "objective.distractors": 5,
    "precision": "fp32",
    "validate_every": 1000,
    "save_every": 1000,
}

SCRIPT = f"""
import os
from w2v2cli.training.runs.pretrain import pretrain
pretrain(
    {str(CORPUS)!r},
    output=f"rank{{os.environ['RANK']}}",
    recipe="small",
    valid={str(VALID)!r},
    settings={SETTINGS | {"schedule.updates": 16}!r},
    device="cpu",
    warn=print,
)
"""


def run(folder, updates, corpus=CORPUS, **more):
    settings = SETTINGS | {"schedule.updates": updates}
    return pretrain(
        corpus, output=folder, recipe="small", valid=VALID, settings=settings, device="cpu", **more
    )


def updates_of(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["update"] for line in lines]


def test_a_finished_run_is_extended_and_another_corpus_is_refused(tmp_path):
    folder, told = tmp_path / "run", []
    run(folder, 4)
    result = run(folder, 6, warn=told.append)
    assert result.finished and updates_of(folder) == [1, 2, 3, 4, 5, 6]
    assert any("made for 4 updates and goes on to 6" in sentence for sentence in told)
    with pytest.raises(UsageError, match=r"trained on .*dev-clean \(.*\), .*names .*test-clean"):
        run(folder, 6, CORPUS.with_name("test-clean"))
    with pytest.raises(UsageError, match="begun from random weights, and this call names .*best"):
        run(folder, 6, model=folder / "best.safetensors")


def test_the_other_ranks_go_on_from_the_state_of_the_first_without_a_folder_of_their_own(tmp_path):
    """Ranks that looked for themselves trained on mixed states, and then waited for ever."""
    run(tmp_path / "rank0", 8)
    result = on_two_ranks("-c", SCRIPT, timeout=200, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert updates_of(tmp_path / "rank0") == list(range(1, 17))
    assert not (tmp_path / "rank1").exists()
