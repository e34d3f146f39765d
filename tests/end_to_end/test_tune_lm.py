"""`w2v2 tune-lm` as a shell runs it, on the model that ships."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "w2v2cli"]
SECONDS = 300  # for one call, on a machine that has other things to do


def w2v2(home, *args) -> subprocess.CompletedProcess:
    env = {**os.environ, "W2V2_HOME": str(home)}
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=SECONDS, env=env
    )


def test_killed_and_restarted(tmp_path):
    """A tuning killed in the middle of searches has the result of one left alone.

    Its weights are those of the miniature that ships, which are not kept.
    """
    arguments = ["tune-lm", "--trials", "3", "--beam", "40", "--json", "--study"]
    env = {**os.environ, "W2V2_HOME": str(tmp_path / "home")}
    whole = w2v2(tmp_path / "home", *arguments, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    expected = json.loads(whole.stdout)

    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [*COMMAND, *arguments, str(broken)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + SECONDS
    while (
        time.monotonic() < deadline
        and process.poll() is None
        and not claimed(broken / "study.sqlite")
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = w2v2(tmp_path / "home", *arguments, broken)
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    for report in (expected, result):
        report.pop("study")
    assert result == expected
    assert {path.name for path in broken.iterdir()} >= {"study.sqlite", "surface.html"}

    assert expected["tuned"] is None
    assert "These weights are not kept: 12 recordings that ship with w2v2" in again.stderr
    evaluated = w2v2(tmp_path / "home", "eval", "--split", "dev-other", "--beam", "40", "--json")
    assert "as tuned on" not in evaluated.stderr
    forgotten = w2v2(tmp_path / "home", "tune-lm", "--forget")
    assert (forgotten.returncode, forgotten.stdout) == (0, "")
    assert forgotten.stderr == "No weights are stored for demo and 4gram.\n"

    other = w2v2(tmp_path / "home", *arguments, broken, "--metric", "cer")
    assert (
        other.returncode == 1
        and "is the study of another metric: wer, now it is cer" in other.stderr
    )


def claimed(database) -> bool:
    if not database.exists():
        return False
    with sqlite3.connect(database, timeout=10) as db:
        try:
            return bool(db.execute("SELECT 1 FROM lots WHERE owner IS NOT NULL").fetchone())
        except sqlite3.OperationalError:
            return False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials must be at least 1, got 0."),
        (["--lm-weight", "5", "0"], "--lm-weight takes the lower bound, then the upper: got 5 0."),
        (["--lm", "none"], "--lm none leaves nothing to tune"),
        (["--metric", "bleu"], "--metric takes wer, cer or per, got 'bleu'."),
        (["--split", "all"], "--split all names 4 splits"),
    ],
)
def test_wrong_calls(tmp_path, arguments, message):
    result = w2v2(tmp_path, "tune-lm", *arguments)
    assert (
        result.returncode == 2 and message in result.stderr and result.stderr.startswith("Error: ")
    )
