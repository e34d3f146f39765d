"""Runs that are killed, asked to stop, or spread over two processes end with the same weights."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from calls import log_of, preloaded, torchrun

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"
SETTINGS = (
    "model=tiny",
    "shortest_seconds=0.5",
    "crop_seconds=2",
    "objective.distractors=20",
    "validate_every=1000",
)
# LayerDrop draws for each micro-batch of a rank, so two of one rank are not those of two ranks.
ALL_BLOCKS = "--set=layer_drop=0"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def w2v2(tmp_path_factory):
    """Processes of `w2v2` that need not import torch each."""
    with preloaded(tmp_path_factory.mktemp("forked"), OMP_NUM_THREADS="1") as processes:
        yield processes


def pretrain(out, updates, *more):
    corpus = SHIPPED / "corpus" / "dev-clean"
    valid = corpus.with_name("test-clean")
    arguments = "--recipe small --batch-seconds 8 --precision fp32 --log-every 10 --device cpu"
    call = ["pretrain", str(corpus), "-o", str(out), "--valid", str(valid)]
    call += ["--updates", str(updates), *arguments.split()]
    return [*call, *(f"--set={setting}" for setting in SETTINGS), *more]


def finish(run):
    assert run.wait() == 0, run.errors.read_text()


def weights(folder):
    newest = max(folder.glob("state-*.pt"))
    return torch.load(newest, weights_only=True)["network"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_killed_ten_times_at_random_moments_a_run_comes_to_the_very_same_weights(w2v2, tmp_path):
    updates = 240  # more than ten lives of up to 20 updates and those until the kill comes
    folder = tmp_path / "killed"
    finish(w2v2.start(*pretrain(tmp_path / "whole", updates, "--set=save_every=7")))
    draw = random.Random(0)
    command = pretrain(folder, updates, "--set=save_every=7")
    seen = []
    for _ in range(10):
        before, life = len(log_of(folder)), draw.randrange(1, 20)
        restored = max((int(path.name[6:14]) for path in folder.glob("state-*.pt")), default=0)
        run = w2v2.start(*command)
        began = time.monotonic()
        # A run that goes on first cuts its log down to the update it goes on from.
        while len(log_of(folder)) == before:
            assert time.monotonic() - began < 60
            time.sleep(0.005)
        while len(log_of(folder)) < restored + life:
            assert time.monotonic() - began < 60
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(run.pid, signal.SIGKILL)
        seen.append(len(log_of(folder)))
        assert run.wait() == -signal.SIGKILL, f"the run was over before its kill: {seen}"
    assert len(set(seen)) > 5  # the kills came at different updates
    finish(w2v2.start(*command))
    assert_same(weights(tmp_path / "whole"), weights(folder))
    whole, killed = log_of(tmp_path / "whole"), log_of(folder)
    assert [row["loss"] for row in whole] == [row["loss"] for row in killed]
    assert [row["update"] for row in killed] == list(range(1, updates + 1))


# The second state stays for ever between its last byte and its name.
SLOW_DISK = """
import time
import storage.whole
from w2v2cli.app import main

flush, states = storage.whole._flush, []

def slow(path):
    if path.name.startswith(".state-"):
        states.append(path)
        if len(states) == 2:
            time.sleep(600)
    flush(path)

storage.whole._flush = slow
main()
"""


def test_killed_while_a_state_is_written_a_run_has_the_state_before_and_goes_on(w2v2, tmp_path):
    folder = tmp_path / "killed"
    command = pretrain(folder, 14, "--set=save_every=4")
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW_DISK, *command], env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    while len(log_of(folder)) < 11:  # training goes on behind the state of update 8
        assert run.poll() is None
        time.sleep(0.05)
    assert list(folder.glob(".state-00000008.pt.*.part"))
    run.kill()
    run.wait()
    assert [path.name[:14] for path in folder.glob("state-*")] == ["state-00000004"]
    finish(w2v2.start(*command))
    finish(w2v2.start(*pretrain(tmp_path / "whole", 14, "--set=save_every=4")))
    assert_same(weights(tmp_path / "whole"), weights(folder))
    assert not list(folder.glob(".state-*"))


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR1])
def test_a_schedulers_notice_saves_ends_well_and_says_how_to_go_on(w2v2, tmp_path, notice):
    run = w2v2.start(*pretrain(tmp_path / "run", 100_000, "--set=save_every=50000"))
    while not log_of(tmp_path / "run"):
        time.sleep(0.05)
    os.kill(run.pid, notice)
    finish(run)
    errors = run.errors.read_text()
    done = len(log_of(tmp_path / "run"))
    assert f"Stopped by {notice.name} after update {done}" in errors
    assert f"pretrain {SHIPPED / 'corpus' / 'dev-clean'}" in errors.splitlines()[-1]
    assert [path.name[:14] for path in (tmp_path / "run").glob("state-*.pt")] == [
        f"state-{done:08d}"
    ]


def test_two_ranks_come_to_the_weights_of_one_with_the_double_batch(w2v2, tmp_path):
    """20 updates over Gloo, beside one process that accumulates two micro-batches."""
    finish(w2v2.start(*pretrain(tmp_path / "one", 20, "--accumulate", "2", ALL_BLOCKS)))
    call = pretrain(tmp_path / "two", 20, "--accumulate", "1", ALL_BLOCKS)
    result = subprocess.run(
        torchrun("-m", "w2v2cli", *call),
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
    )
    assert result.returncode == 0, result.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-5)
    losses = [[row["loss"] for row in log_of(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] != losses[0][1]


def test_stopped_under_torchrun_and_continued_by_one_process_nothing_changes(w2v2, tmp_path):
    """Both ranks save and exit with 0; one process with the same total batch continues."""
    updates = 80
    call = pretrain(tmp_path / "run", updates, "--accumulate", "1", ALL_BLOCKS)
    process = subprocess.Popen(
        torchrun("-m", "w2v2cli", *call),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    while len(log_of(tmp_path / "run")) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    done = len(log_of(tmp_path / "run"))
    assert f"Stopped by SIGTERM after update {done}" in errors and 5 <= done < updates
    finish(w2v2.start(*pretrain(tmp_path / "run", updates, "--accumulate", "2", ALL_BLOCKS)))
    finish(w2v2.start(*pretrain(tmp_path / "whole", updates, "--accumulate", "2", ALL_BLOCKS)))
    stopped, whole = ([row["loss"] for row in log_of(tmp_path / name)] for name in ("run", "whole"))
    assert stopped == pytest.approx(whole, rel=1e-2)
    assert stopped[: done + 1] == pytest.approx(whole[: done + 1], rel=1e-4)
