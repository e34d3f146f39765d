"""`w2v2 lm train` on a text, killed and continued, and the language model that it writes."""

import os
import random
import signal
import subprocess
import sys
import time
from typing import get_args

import pytest
from calls import log_of

from w2v2cli.commands.lm.train import Recipe
from w2v2cli.training.recipes import LANGUAGE_MODELS

WORDS = "the cat sat on a mat and dog ran to his old red house by blue sea".split()


def text(path, sentences, seed):
    """Sentences in which each word says which comes next, but for one in ten."""
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        at, line = draw.randrange(len(WORDS)), []
        for _ in range(draw.randrange(4, 12)):
            line.append(WORDS[at])
            at = draw.randrange(len(WORDS)) if draw.random() < 0.1 else (at + 1) % len(WORDS)
        lines.append(" ".join(line).upper())
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def call(tmp_path):
    train, valid = text(tmp_path / "train.txt", 3000, 1), text(tmp_path / "valid.txt", 100, 2)

    def command(folder, updates=60):
        call = [sys.executable, "-m", "w2v2cli", "lm", "train", str(train), "--valid", str(valid)]
        call += ["-o", str(folder), "--updates", str(updates), "--set", "save_every=5"]
        return (
            call
            + "--recipe tiny --no-normalize --batch-words 512 --log-every 20 --device cpu".split()
        )

    return command


def test_it_learns_is_killed_goes_on_to_the_same_and_scores(call, tmp_path):
    whole = subprocess.run(call(tmp_path / "whole"), capture_output=True, text=True, timeout=200)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        call(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(log_of(tmp_path / "killed")) < 12:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(call(tmp_path / "killed"), capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    losses = [[row["loss"] for row in log_of(tmp_path / name)] for name in ("whole", "killed")]
    assert losses[0] == losses[1] and len(losses[0]) == 60
    assert log_of(tmp_path / "whole")[-1]["valid_perplexity"] < 6  # of 17 words

    best = tmp_path / "whole" / "best.safetensors"
    scored = subprocess.run(
        [sys.executable, "-m", "w2v2cli", "lm", "score", str(best), str(tmp_path / "valid.txt")],
        capture_output=True, text=True, timeout=100, env=os.environ,
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    assert "perplexity" in scored.stdout + scored.stderr


def test_a_text_on_both_sides_is_refused(tmp_path):
    path = text(tmp_path / "text.txt", 10, 0)
    call = ["lm", "train", str(path), "--valid", str(path), "-o", str(tmp_path / "run")]
    result = subprocess.run(
        [sys.executable, "-m", "w2v2cli", *call], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2 and "both trained on and validated on" in result.stderr


def test_the_recipes_that_the_command_offers_are_those_there_are():
    choices, _ = get_args(Recipe)
    assert get_args(choices) == tuple(LANGUAGE_MODELS)


def test_a_home_that_is_a_file_is_a_sentence(call, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    done = subprocess.run(call(tmp_path / "run"), capture_output=True, text=True, timeout=60)
    folder = tmp_path / "home" / "text"
    told = f"Error: Words of texts cannot be kept in {folder} (Not a directory): "
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(told), done.stderr
