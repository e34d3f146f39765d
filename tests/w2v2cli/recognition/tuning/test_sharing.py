"""Two real processes at work on one study."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tuned_corpus import UTTERANCES, Corpus, random_points

from w2v2cli.recognition.tuning import trials as tuning
from w2v2cli.recognition.tuning.options import TuningOptions

PROGRAM = Path(__file__).parents[3] / "tuned_corpus.py"
TRIALS = 24
SECONDS = 0.01  # that a search takes
PATIENCE = 120  # seconds


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """What one process finds."""
    monkeypatch.setattr(tuning, "propose", random_points)
    found = Corpus().tune(tmp_path / "alone", TuningOptions(TRIALS))
    best = found.best
    return [found.cost, best.number, best.rate, list(best.point), list(found.interval)]


def started(study, count: int = 2) -> list[subprocess.Popen]:
    """Processes that begin at one moment, each on its first search."""
    command = [sys.executable, PROGRAM, study, str(TRIALS), str(SECONDS)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [PROGRAM.parents[1]]))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    processes = [subprocess.Popen([*map(str, command)], **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def ended(process):
    """How many searches a process has made, and what it found."""
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    *searches, found = said.splitlines()
    return len(searches), json.loads(found)


def test_two_processes_share_the_utterances_of_every_race(tmp_path, alone):
    study = tmp_path / "study"
    one, two = started(study)
    (some, found), (others, same) = ended(one), ended(two)
    assert found == same == alone
    cost = alone[0]
    # Each utterance is searched once, but for a few beyond the end of a race.
    assert cost <= some + others <= cost + 16 * TRIALS
    # Both do more than what the first round alone would leave to one of them.
    assert min(some, others) > 0.2 * cost > 0
    assert max(some, others) < cost - UTTERANCES


def test_a_process_that_is_killed_loses_nothing(tmp_path, alone):
    study = tmp_path / "study"
    one, two = started(study)
    for _ in range(20):
        assert two.stdout.readline() == "searched\n"
    os.kill(two.pid, signal.SIGKILL)
    two.communicate()
    searches, found = ended(one)
    assert found == alone and searches > alone[0] / 2
