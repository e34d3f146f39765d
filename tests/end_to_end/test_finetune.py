"""`w2v2 finetune` on a handful of real recordings: it learns, it stops, it goes on."""

import json
from pathlib import Path

import pytest
from calls import called

from models.checkpoint import load_checkpoint
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import read_corpus

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"


def finetune(*args):
    return called("finetune", *args)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Recordings with ids of the train part, and one of each kind that training cannot use."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["id\tseconds\ttext"]
    names = (f"u{i}" for i in range(1000) if split_of(f"u{i}") == "train")
    for utterance in read_corpus(SHIPPED / "corpus" / "dev-clean")[:6]:
        name = next(names)
        (folder / f"{name}.flac").symlink_to(utterance.path)
        rows.append(f"{name}\t1.0\t{utterance.text}")
    for text in ("...", "WORD " * 300):
        name = next(names)
        (folder / f"{name}.flac").symlink_to(utterance.path)
        rows.append(f"{name}\t1.0\t{text}")
    (folder / "transcripts.tsv").write_text("\n".join(rows) + "\n")
    return folder


def arguments(corpus, out, *more):
    valid = SHIPPED / "corpus" / "test-clean"
    small = (
        "--model",
        "tiny-config",
        "--batch-seconds",
        10,
        "--precision",
        "fp32",
        "--log-every",
        1,
    )
    return (f"{corpus}@2", "-o", out, "--valid", valid, *small, *more)


def test_a_run_learns_and_leaves_out_what_it_cannot_learn_from(corpus, tmp_path):
    result = finetune(*arguments(corpus, tmp_path, "--updates", 12, "--peak-lr", 0.005))
    assert result.returncode == 0, result.stderr
    assert (
        "its transcript is empty" in result.stderr
        and "frames of audio cannot hold its" in result.stderr
    )
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["update"] for row in log] == list(range(1, 13))
    assert log[-1]["loss"] < log[0]["loss"] / 2
    assert "wer" in log[-1]
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.metadata["recipe"] == "demo" and len(best.labels) == 32


def test_a_run_called_again_when_it_is_over_does_nothing(corpus, tmp_path):
    assert finetune(*arguments(corpus, tmp_path, "--updates", 2)).returncode == 0
    before = (tmp_path / "log.jsonl").read_text()
    assert finetune(*arguments(corpus, tmp_path, "--updates", 2)).returncode == 0
    assert (tmp_path / "log.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--recipe", "base-10y"), 2, "scratch, demo; got 'base-10y'"),
        (("--precision", "int3"), 2, "--precision takes auto, fp32, bf16 or fp16"),
        (("--model", "bass"), 2, "There is no model 'bass'"),
    ],
)
def test_wrong_calls(corpus, tmp_path, args, code, message):
    valid = SHIPPED / "corpus" / "test-clean"
    result = finetune(corpus, "-o", tmp_path / "run", "--valid", valid, *args)
    assert result.returncode == code and message in result.stderr and result.stderr.count("\n") == 1
