"""The weights that the paper found, and which model and language model they belong to."""

from dataclasses import replace
from pathlib import Path

import pytest

from lm.decoding import DecodingWeights
from w2v2cli.data.locations import PRETRAINED, PUBLISHED, LmLocation, ModelLocation
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import Weighing, resolve
from w2v2cli.recognition.tuning.published import MODELS, untuned_weights

NGRAM = LmLocation("4gram", Path("4-gram.arpa.gz"), None, "arpa", owner="librispeech")
TRANSFORMER = LmLocation("transformer", Path("lm.pt"), None, "transformer", owner="librispeech")
PAPER = [  # arXiv 2006.11477v3, tables 7 and 8
    ("base-100h", (2.15, -0.52), (0.87, -1.00)),
    ("base-960h", (1.74, 0.52), (0.92, -0.86)),
    ("large-960h", (1.74, 0.52), (0.92, -0.86)),
    ("large-lv60k-960h", (1.57, -0.64), (0.90, -0.31)),
    ("large-lv60k-960h-self", (1.57, -0.64), (0.90, -0.31)),
    ("base-960h@main", (1.74, 0.52), (0.92, -0.86)),
]


def place(name):
    return ModelLocation(name, Path(name), "librispeech")


@pytest.mark.parametrize(("name", "ngram", "transformer"), PAPER)
def test_the_papers_weights_of_each_published_model(name, ngram, transformer):
    assert untuned_weights(place(name), NGRAM).weights == DecodingWeights(*ngram)
    assert untuned_weights(place(name), TRANSFORMER).weights == DecodingWeights(*transformer)


def test_every_published_model_that_transcribes_has_weights():
    assert set(MODELS) == set(PUBLISHED) - PRETRAINED


@pytest.mark.parametrize(
    ("model", "lm"),
    [
        (ModelLocation("mine", Path("mine"), None), NGRAM),
        (place("base-960h"), replace(NGRAM, owner=None)),
        (place("base-960h"), replace(NGRAM, owner="demo")),
    ],
    ids=["own model", "own language model", "another language model"],
)
def test_other_pairs_start_where_the_papers_tuning_did(model, lm):
    assert untuned_weights(model, lm).weights == DecodingWeights(2.0, -1.0)
    other = replace(lm, kind="transformer")
    assert untuned_weights(model, other).weights == DecodingWeights(0.87, -1.0)


def test_the_default_is_told_with_its_source(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    notes = []
    (tmp_path / "m").touch()
    (tmp_path / "a.arpa").touch()
    model = ModelLocation("base-960h", tmp_path / "m", "librispeech")
    lm = replace(NGRAM, path=tmp_path / "a.arpa")
    assert Weighing(model, lm).weights(None, notes.append) == DecodingWeights(1.74, 0.52)
    assert Weighing(model, lm, lm_weight=1.0).weights(None, notes.append).word_score == 0.52
    Weighing(model, lm, 1.0, 0.0).weights(None, notes.append)  # both given: nothing to tell
    Weighing(model, lm, prefix="rescore-").weights("rescoring", notes.append)
    assert notes == [
        "Note: LM weight 1.74 and word score 0.52, which the paper found for 960 h of LS-960 "
        "(table 7); --lm-weight and --word-score override them.",
        "Note: word score 0.52, which the paper found for 960 h of LS-960 (table 7); "
        "--word-score overrides it.",
        "Note: LM weight 1.74 and word score 0.52, which the paper found for 960 h of LS-960 "
        "(table 7); --rescore-lm-weight and --rescore-word-score override them.",
    ]


def test_what_ships_needs_no_note(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    notes = []
    asked = DecodingOptions(lm="4gram")
    assert resolve(asked, note=notes.append).weights == DecodingWeights(2.0, -1.0)
    assert notes == []
