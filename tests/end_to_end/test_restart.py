"""Runs that are killed, asked to stop, or spread over two processes end with the same weights."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"
SETTINGS = (
    "model=tiny",
    "shortest_seconds=0.5",
    "crop_seconds=2",
    "objective.distractors=20",
    "validate_every=1000",
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def pretrain(out, updates, *more, launcher=()):
    settings = (f"--set={setting}" for setting in SETTINGS)
    arguments = (
        "--recipe",
        "small",
        "--batch-seconds",
        "8",
        "--precision",
        "fp32",
        "--log-every",
        "10",
        "--device",
        "cpu",
    )
    corpus = SHIPPED / "corpus" / "dev-clean"
    command = [
        sys.executable,
        *launcher,
        "-m",
        "w2v2cli",
        "pretrain",
        str(corpus),
        "-o",
        str(out),
        "--valid",
        str(corpus),
    ]
    return [*command, "--updates", str(updates), *arguments, *settings, *more]


def finished(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    return result


def weights(folder):
    newest = max(folder.glob("state-*.pt"))
    return torch.load(newest, weights_only=True)["network"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_killed_ten_times_at_random_moments_a_run_comes_to_the_very_same_weights(tmp_path):
    updates = 400
    finished(pretrain(tmp_path / "whole", updates, "--set=save_every=7"))
    draw = random.Random(0)
    command = pretrain(tmp_path / "killed", updates, "--set=save_every=7")
    kills, seen = 0, []
    while kills < 10:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )
        began = time.monotonic()
        before = len(log_of(tmp_path / "killed"))
        while len(log_of(tmp_path / "killed")) == before and process.poll() is None:
            assert time.monotonic() - began < 60
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        seen.append(len(log_of(tmp_path / "killed")))
    assert kills == 10, f"the run was over after {kills} kills: {seen}"
    finished(command)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    whole, killed = log_of(tmp_path / "whole"), log_of(tmp_path / "killed")
    assert [row["loss"] for row in whole] == [row["loss"] for row in killed]
    assert [row["update"] for row in killed] == list(range(1, updates + 1))


def log_of(folder):
    path = folder / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR1])
def test_a_schedulers_notice_saves_ends_well_and_says_how_to_go_on(tmp_path, notice):
    command = pretrain(tmp_path / "run", 100_000, "--set=save_every=50000")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    while not log_of(tmp_path / "run"):
        time.sleep(0.05)
    process.send_signal(notice)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    done = len(log_of(tmp_path / "run"))
    assert f"Stopped by {notice.name} after update {done}" in errors
    assert f"pretrain {SHIPPED / 'corpus' / 'dev-clean'}" in errors.splitlines()[-1]
    assert [path.name[:14] for path in (tmp_path / "run").glob("state-*.pt")] == [
        f"state-{done:08d}"
    ]


def test_two_ranks_come_to_the_weights_of_one_with_the_double_batch(tmp_path):
    """20 updates over Gloo, beside one process that accumulates two micro-batches."""
    launcher = (
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(random.randint(20_000, 60_000)),
    )
    finished(pretrain(tmp_path / "one", 20, "--accumulate", "2"))
    finished(pretrain(tmp_path / "two", 20, "--accumulate", "1", launcher=launcher))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-5)
    losses = [[row["loss"] for row in log_of(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] != losses[0][1]


def test_stopped_under_torchrun_and_continued_by_one_process_nothing_changes(tmp_path):
    """Both ranks save and exit with 0; one process with the same total batch continues."""
    port = str(random.randint(20_000, 60_000))
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port)
    updates = 150
    command = pretrain(tmp_path / "run", updates, "--accumulate", "1", launcher=launcher)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    while len(log_of(tmp_path / "run")) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    done = len(log_of(tmp_path / "run"))
    assert f"Stopped by SIGTERM after update {done}" in errors and 5 <= done < updates
    finished(pretrain(tmp_path / "run", updates, "--accumulate", "2"))
    finished(pretrain(tmp_path / "whole", updates, "--accumulate", "2"))
    stopped, whole = ([row["loss"] for row in log_of(tmp_path / name)] for name in ("run", "whole"))
    assert stopped == pytest.approx(whole, rel=1e-2)
    assert stopped[: done + 1] == pytest.approx(whole[: done + 1], rel=1e-4)
