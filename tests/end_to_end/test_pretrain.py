"""`w2v2 pretrain`, `finetune` and `plot` as a shell sees them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from calls import called as w2v2

from models.checkpoint import load_checkpoint
from w2v2cli.training.recipes import FINETUNING, PRETRAINING

CORPUS = Path(__file__).parents[2] / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
HELD_OUT = CORPUS.with_name("test-clean")
SMALL = (
    *"--recipe small --batch-seconds 8 --precision fp32 --device cpu".split(),
    *"--set model=tiny --set shortest_seconds=0.5 --set crop_seconds=2".split(),
)


def process(*args):
    command = [sys.executable, "-m", "w2v2cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_pretrain_then_finetune_then_curves(tmp_path):
    run = tmp_path / "pretrained"
    result = process(
        "pretrain",
        CORPUS,
        "-o",
        run,
        "--valid",
        HELD_OUT,
        *SMALL,
        "--updates",
        30,
        "--log-every",
        10,
    )
    assert result.returncode == 0, result.stderr
    assert "update 10/30" in result.stderr and "left" in result.stderr and result.stdout == ""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    needed = "contrastive diversity penalty accuracy code_perplexity prob_perplexity temperature"
    needed += " learning_rate gradient_norm audio_seconds_per_second audio_hours"
    assert set(needed.split()) <= set(log[-1]) and "valid_contrastive" in log[-1]
    assert log[-1]["loss"] < log[0]["loss"]
    best = load_checkpoint(run / "best.safetensors")
    assert best.labels is None and "quantizer.codebook" in best.weights

    tuned = tmp_path / "tuned"
    call = (
        "finetune",
        f"{CORPUS}@2",
        "-o",
        tuned,
        "--valid",
        HELD_OUT,
        "--model",
        run / "best.safetensors",
        "--updates",
        4,
    )
    result = w2v2(*call, "--precision", "fp32", "--batch-seconds", 8)
    assert result.returncode == 0, result.stderr
    assert load_checkpoint(tuned / "best.safetensors").metadata["started_from"] == str(
        run / "best.safetensors"
    )
    result = w2v2("transcribe", next(CORPUS.rglob("*.flac")), "--model", run / "best.safetensors")
    assert (
        result.returncode == 1
        and "w2v2 finetune" in result.stderr
        and result.stderr.count("\n") == 1
    )

    result = w2v2("plot", run, tuned, "-o", tmp_path / "curves.html")
    assert result.returncode == 0 and (tmp_path / "curves.html").stat().st_size > 10_000


def test_the_papers_selection_runs_every_seed_and_rate_and_keeps_the_best(tmp_path):
    call = (
        "finetune",
        CORPUS,
        "-o",
        tmp_path,
        "--valid",
        HELD_OUT,
        "--model",
        "tiny-config",
        "--updates",
        2,
    )
    result = w2v2(
        *call,
        "--precision",
        "fp32",
        "--batch-seconds",
        20,
        "--seeds",
        2,
        "--peak-lr",
        "2e-3",
        "3e-3",
    )
    assert result.returncode == 0, result.stderr
    rows = result.stdout.splitlines()
    assert rows[0].split() == "peak rate seed validation WER loss".split() and len(rows) == 7
    assert [row.split(":")[0] for row in sorted(rows[5:])] == [
        f"Mean of 2 seeds at {rate}" for rate in ("0.002", "0.003")
    ]
    first = rows[1].split()
    kept = tmp_path / f"lr{first[0]}-seed{first[1]}" / "best.safetensors"
    assert kept.read_bytes() == (tmp_path / "best.safetensors").read_bytes()


def test_both_train_from_shards(tmp_path):
    assert w2v2("data", "shard", CORPUS, HELD_OUT, "-o", tmp_path / "shards").returncode == 0
    shards = ("--shards", tmp_path / "shards")
    result = w2v2(
        "pretrain", *shards, "-o", tmp_path / "a", *SMALL, "--updates", 2, "--loader-workers", 1
    )
    assert result.returncode == 0 and "Pretraining on 20 recordings" in result.stderr, result.stderr
    call = (
        "finetune",
        *shards,
        "-o",
        tmp_path / "b",
        "--valid",
        HELD_OUT,
        "--model",
        "tiny-config",
        "--updates",
        2,
    )
    result = w2v2(*call, "--precision", "fp32")
    assert result.returncode == 0 and "Fine-tuning on 14 utterances" in result.stderr, result.stderr
    result = w2v2("pretrain", CORPUS, *shards, "-o", tmp_path / "c")
    assert result.returncode == 2 and "give either shards or corpora" in result.stderr


def test_a_folder_of_a_run_with_other_settings_is_refused(tmp_path):
    call = (
        "finetune",
        CORPUS,
        "-o",
        tmp_path,
        "--valid",
        HELD_OUT,
        "--model",
        "tiny-config",
        "--batch-seconds",
        20,
    )
    assert w2v2(*call, "--updates", 2).returncode == 0
    result = w2v2(*call, "--updates", 1)  # more of them would extend the run
    assert (
        result.returncode == 2
        and "schedule.updates was 2 and is 1" in result.stderr
        and "Name another folder" in result.stderr
    )


def test_validation_searches_with_a_language_model(tmp_path):
    call = (
        "finetune",
        CORPUS,
        "-o",
        tmp_path,
        "--valid",
        HELD_OUT,
        "--model",
        "tiny-config",
        "--updates",
        1,
        "--lm",
        "demo-4gram",
    )
    result = w2v2(*call, "--precision", "fp32", "--batch-seconds", 20)
    assert result.returncode == 0, result.stderr
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert {"wer", "cer", "wer_lm", "cer_lm"} <= set(json.loads(line))


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_every_recipe_passes_its_dry_run(command):
    recipes = PRETRAINING if command == "pretrain" else FINETUNING
    model = {"pretrain": [], "finetune": ["--model", "tiny-config"]}[command]
    parts = "parameters,precision,memory,learning rate,updates,time,schedule.peak ="
    for recipe in recipes:
        result = w2v2(command, "--recipe", recipe, "--dry-run", "--speed", 100, *model)
        assert result.returncode == 0 and result.stderr == "", (recipe, result.stderr)
        assert [part for part in parts.split(",") if part not in result.stdout] == [], recipe


def test_a_dry_run_tells_what_an_epoch_is():
    result = w2v2("pretrain", CORPUS, *SMALL, "--dry-run", "--accumulate", 2)
    assert result.returncode == 0, result.stderr
    assert "micro-batches" in result.stdout and "updates an epoch" in result.stdout
    assert result.stderr.startswith("Held out for validation: 8 utterances")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("pretrain", "--recipe", "bass", "--dry-run"), "--recipe takes base-960"),
        (("pretrain",), "Name the corpora to train on"),
        (("finetune", "--recipe", "timit"), "Name the corpora to train on"),
        (("pretrain", "--dry-run", "--set", "colour=red"), "there is no colour"),
        (("pretrain", "--dry-run", "--accumulate", "2", "--total-batch-hours", "1"), "give one"),
        (("pretrain", "train-961", "-o", "x"), "There is no corpus 'train-961'"),
    ],
)
def test_wrong_calls_are_a_sentence_and_exit_with_2(args, message, tmp_path):
    result = w2v2(*args)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


def test_half_an_environment_of_torchrun_is_a_sentence(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "RANK"} | {"WORLD_SIZE": "2"}
    call = [sys.executable, "-m", "w2v2cli", "pretrain", CORPUS, "-o", tmp_path / "run", *SMALL]
    result = subprocess.run(call, capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "The environment has WORLD_SIZE=2 but no RANK" in result.stderr
