"""`w2v2 data shard` as a shell runs it: once, again, with damage, and killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2cli.data.shards.reader import ShardRecordings

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "w2v2cli" / "shipped" / "corpus" / "dev-clean"


def command(*args):
    return [sys.executable, "-m", "w2v2cli", "data", "shard", *map(str, args)]


def shard(*args):
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=120, cwd=ROOT)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A hundred and twenty recordings of 5 s: enough work to be stopped in."""
    folder = tmp_path_factory.mktemp("noise")
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 80_000)
    soundfile.write(folder / "000.wav", samples, 16_000)
    for number in range(1, 120):
        os.link(folder / "000.wav", folder / f"{number:03}.wav")
    return folder


SIZE = ("--shard-hours", "0.012", "--jobs")


@pytest.fixture(scope="module")
def packed(noise, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    assert shard(noise, "-o", folder, *SIZE, 1).returncode == 0
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packed_and_packed_again(tmp_path):
    made = tmp_path / "made"
    result = shard(
        CORPUS, CORPUS.with_name("test-other"), "-o", made, "--shard-mb", "0.5", "--jobs", 1
    )
    recordings = ShardRecordings(made)
    count, hours = len(recordings.shards), recordings.lengths.sum() / 16_000 / 3600
    shards = len(list(made.glob("*.tar")))
    assert (result.returncode, result.stdout) == (0, "")
    assert (
        result.stderr == f"{made}: {shards} shards, {count} recordings, {hours:.2f} hours.\n"
        and shards > 2
    )
    before = content(made)
    result = shard(CORPUS, CORPUS.with_name("test-other"), "-o", made, "--shard-mb", "0.5")
    assert (
        result.returncode == 0
        and f"{shards} shards, {shards} of them finished before, {count} rec" in result.stderr
    )
    assert content(made) == before
    result = shard(CORPUS, "-o", made)
    assert result.returncode == 1 and result.stderr.endswith("this seed: name another folder.\n")


def test_what_cannot_be_read(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("a", "b"):
        soundfile.write(
            corpus / f"{name}.flac", np.random.default_rng(1).uniform(-0.5, 0.5, 16_000), 16_000
        )
    (corpus / "b.flac").write_bytes((corpus / "b.flac").read_bytes()[:-9000])
    result = shard(corpus, "-o", tmp_path / "made")
    reason, summary, error = result.stderr.splitlines()
    assert result.returncode == 1 and str(corpus / "b.flac") in reason
    assert summary.endswith("1 shard, 1 recording, 0.00 hours.")
    assert error == "Error: 1 recording cannot be read; the shards are without them."


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--shard-mb", "5", "--shard-hours", "1"], "exclude each other: give one."),
        (["--shard-mb", "0"], "--shard-mb"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0."),
    ],
)
def test_wrong_calls(tmp_path, args, error):
    result = shard(CORPUS, "-o", tmp_path / "made", *args)
    assert result.returncode == 2 and error in result.stderr and not (tmp_path / "made").exists()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on(noise, packed, tmp_path, end):
    made = tmp_path / "made"
    running = subprocess.Popen(
        command(noise, "-o", made, *SIZE, 2), cwd=ROOT, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not list(made.glob("*.tar")):
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.002)
    running.send_signal(end)
    said = running.communicate(timeout=30)[
        1
    ]  # all have gone that could still write there, its processes too
    assert running.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    finished = {path: path.stat().st_ino for path in made.glob("*.tar")}
    assert 0 < len(finished) < len(list(packed.glob("*.tar"))) == 14
    if end == signal.SIGINT:
        assert said == b"" and not list(made.glob(".*"))
    result = shard(noise, "-o", made, *SIZE, 1)
    assert result.returncode == 0 and f"{len(finished)} of them finished before" in result.stderr, (
        result.stderr
    )
    assert {path: path.stat().st_ino for path in finished} == finished
    assert content(made) == content(packed)
