"""A checkpoint of one's own with LibriSpeech's language model: trained, selected and tested by it.

A small n-gram model stands where LibriSpeech's is fetched to.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[3] / "w2v2cli" / "shipped"
TEXTS = """CHAPTER ONE THE NOMINALLY HELD AND THE SAME
THE PRISON WAS HELD IN THE SAME PLACE
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """$W2V2_HOME of a machine without a network that has LibriSpeech's 4-gram already."""
    home = tmp_path_factory.mktemp("home")
    (home / "texts.txt").write_text(TEXTS * 4)
    (home / "lm").mkdir()
    built = w2v2(
        home, "lm", "build", "--no-normalize", home / "texts.txt", "-o", home / "lm/4-gram.arpa.gz"
    )
    assert built.returncode == 0, built.stderr
    return home


def w2v2(home, *args) -> subprocess.CompletedProcess:
    environment = {**os.environ, "W2V2_HOME": str(home), "W2V2_OFFLINE": "1", "W2V2_DATA": ""}
    command = [sys.executable, "-m", "w2v2cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def run(home, tmp_path_factory):
    """A tiny network fine-tuned with the 4-gram's validation."""
    folder = tmp_path_factory.mktemp("run")
    corpus = SHIPPED / "corpus" / "dev-clean"
    small = ("--model", "tiny-config", "--batch-seconds", 8, "--precision", "fp32")
    trained = w2v2(
        home, "finetune", corpus, "-o", folder, "--valid", SHIPPED / "corpus" / "test-clean",
        *small, "--updates", 2, "--lm", "4gram",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    return folder


def test_validation_takes_librispeechs_4gram(run):
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert "wer_lm" in log[-1] and "wer" in log[-1]


def test_the_papers_protocol_takes_it_for_the_checkpoint(home, run):
    best = run / "best.safetensors"
    result = w2v2(home, "eval", "--protocol", "paper", "--model", best, "--trials", 2, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["lm"] for row in found["rows"]] == ["none", "4gram"]
    assert found["rows"][1]["tuned_wer"] is not None
    assert not (run / "tuned.json").exists()  # weights of the miniature are not kept


def test_a_checkpoint_of_another_alphabet_is_told_what_to_do(home, run, tmp_path):
    import torch

    from models.checkpoint import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(run / "best.safetensors")
    labels = ("<pad>", "|", *"abcçdefgğhıijklmnoöprsştuüvyz")
    assert len(labels) < len(checkpoint.labels)
    for name in ("output.weight", "output.bias"):
        checkpoint.weights[name] = torch.as_tensor(checkpoint.weights[name])[: len(labels)]
    turkish = tmp_path / "turkish.safetensors"
    save_checkpoint(turkish, type(checkpoint)(checkpoint.config, checkpoint.weights, labels, {}))
    result = w2v2(home, "eval", "--split", "dev-clean", "--model", turkish)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "writes another alphabet: make a language model of its language (w2v2 lm build)" in (
        result.stderr
    )
