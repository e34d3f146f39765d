"""Fine-tuning to phones and to word pieces, evaluated and transcribed with what comes out."""

import json
from pathlib import Path

import pytest
from calls import called as w2v2

from models.checkpoint import load_checkpoint
from w2v2cli.data.corpora.readers import read_corpus

CORPUS = Path(__file__).parents[2] / "w2v2cli" / "shipped" / "corpus"
SMALL = (
    "--model",
    "tiny-config",
    "--updates",
    "3",
    "--batch-seconds",
    "20",
    "--precision",
    "fp32",
    "--device",
    "cpu",
    "--loader-workers",
    "0",
)


def manifest(path, split):
    """Recordings with phones of TIMIT's 61 as text, which need not be what is said."""
    spoken = "h# sh iy hv ae dcl d y er dcl d aa r kcl k s uw tcl t h#"
    rows = [
        {
            "id": u.id,
            "audio_filepath": str(u.path),
            "phones": spoken if i % 2 else "h# ax-h m epi q ng h#",
        }
        for i, u in enumerate(read_corpus(CORPUS / split)[:6])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_phones_are_folded_trained_on_and_scored(tmp_path):
    train, valid = (
        manifest(tmp_path / "train.jsonl", "dev-clean"),
        manifest(tmp_path / "valid.jsonl", "test-clean"),
    )
    run = tmp_path / "run"
    result = w2v2("finetune", train, "-o", run, "--valid", valid, "--recipe", "timit", *SMALL)
    assert result.returncode == 0, result.stderr
    assert "per" in result.stderr
    best = load_checkpoint(run / "best.safetensors")
    assert len(best.labels) == 40 and best.metadata["units"] == "phones"
    assert (
        w2v2("finetune", train, "-o", run, "--valid", valid, "--recipe", "timit", *SMALL).returncode
        == 0
    )
    result = w2v2(
        "eval", "--data", valid, "--model", run / "best.safetensors", "--lm", "none", "--json"
    )
    assert result.returncode == 0, result.stderr
    assert "per" in result.stdout
    forty_eight = w2v2(
        "finetune",
        train,
        "-o",
        tmp_path / "48",
        "--valid",
        valid,
        "--recipe",
        "timit",
        "--set",
        "phones=48",
        *SMALL,
    )
    assert forty_eight.returncode == 0, forty_eight.stderr
    assert len(load_checkpoint(tmp_path / "48" / "best.safetensors").labels) == 49


def test_word_pieces_are_learned_kept_and_read_back(tmp_path):
    pytest.importorskip("sentencepiece")
    call = (
        "finetune",
        f"{CORPUS / 'dev-clean'}@3",
        "-o",
        tmp_path,
        "--valid",
        CORPUS / "test-clean",
    )
    result = w2v2(*call, "--set", "units=pieces", "--set", "pieces=60", *SMALL)
    assert result.returncode == 0, result.stderr
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.metadata["units"] == "pieces" and len(best.labels) > 50
    result = w2v2("transcribe", CORPUS / "test-clean", "--model", tmp_path / "best.safetensors")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("--set", "units=pieces", "--set", "pieces=5"), "word pieces"),
        (("--set", "phones=40"), "phones are folded to 39 or 48, got 40"),
        (("--set", "units=words"), "takes characters, phones, pieces"),
    ],
)
def test_impossible_units_are_a_sentence(tmp_path, settings, message):
    result = w2v2(
        "finetune",
        CORPUS / "dev-clean",
        "-o",
        tmp_path,
        "--valid",
        CORPUS / "test-clean",
        *SMALL,
        *settings,
    )
    assert (
        result.returncode in (1, 2) and message in result.stderr and result.stderr.count("\n") == 1
    )
