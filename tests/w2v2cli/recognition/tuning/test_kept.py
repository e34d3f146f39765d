"""Weights that tuning found, kept beside the model or in $W2V2_HOME."""

import json
from dataclasses import replace

import pytest

from lm.decoding import DecodingWeights
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UserError
from w2v2cli.recognition.tuning.kept import BEAM, find_tuned, forget_tuned, keep_tuned, rescored

FOUND = DecodingWeights(1.25, -0.5, sil_score=0.0)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "mine.safetensors"
    path.write_bytes(b"weights")
    return ModelLocation("mine", path, None)


@pytest.fixture
def lm(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_bytes(b"n-grams")
    return LmLocation("lm.arpa", path, None)


def test_an_entry_applies_to_the_same_bytes_and_kind_of_search_only(model, lm):
    path = keep_tuned(model, lm, FOUND, {"data": "dev-other"})
    assert path == model.path.parent / "tuned.json"
    found = find_tuned(model, lm)
    assert (found.weights, found.data, found.path) == (FOUND, "dev-other", path)
    second = rescored(LmLocation("none", None, None))
    assert find_tuned(model, lm, second) is None
    lm.path.write_bytes(b"others")
    assert find_tuned(model, lm) is None
    lm.path.write_bytes(b"n-grams")
    model.path.write_bytes(b"others")
    assert find_tuned(model, lm) is None


def test_an_entry_replaces_only_the_one_for_the_same_three(model, lm):
    second = rescored(LmLocation("none", None, None))
    keep_tuned(model, lm, FOUND, {"data": "old"})
    keep_tuned(model, lm, DecodingWeights(3.0, 1.0), {"data": "second pass"}, second)
    path = keep_tuned(model, lm, DecodingWeights(0.5, 0.0), {"data": "new"})
    assert find_tuned(model, lm).data == "new"
    assert find_tuned(model, lm, second).weights == DecodingWeights(3.0, 1.0)
    entries = json.loads(path.read_text())["tuned"]
    assert sorted(entry["search"] for entry in entries) == sorted([BEAM, second])


def test_the_shipped_models_entries_lie_in_the_home_folder(tmp_path, model, lm):
    shipped = ModelLocation("demo", model.path, "demo")
    path = keep_tuned(shipped, lm, FOUND, {"data": "dev-other"})
    assert path == tmp_path / "home" / "tuned" / "demo.json"
    assert find_tuned(shipped, lm).weights == FOUND
    assert not (model.path.parent / "tuned.json").exists()


def test_the_entries_of_a_hubs_model_serve_every_name_of_the_same_weights(tmp_path, model, lm):
    named = [
        ModelLocation(f"org/name{at}", model.path, None, "c0ffee") for at in ("", "@main", "@v1.0")
    ]
    path = keep_tuned(named[0], lm, FOUND, {"data": "dev-other"})
    assert path == tmp_path / "home" / "tuned" / "org--name.json"
    assert [find_tuned(location, lm).weights for location in named] == [FOUND] * 3
    assert not (model.path.parent / "tuned.json").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"tuned": 1}', '{"tuned": [1]}'])
def test_a_damaged_file_is_a_sentence(model, lm, content):
    (model.path.parent / "tuned.json").write_text(content)
    with pytest.raises(UserError, match="tuned.json is damaged: delete it and tune again"):
        find_tuned(model, lm)


def test_an_entry_without_weights_is_damage(model, lm):
    path = keep_tuned(model, lm, FOUND, {})
    entry = json.loads(path.read_text())["tuned"][0]
    del entry["lm_weight"]
    path.write_text(json.dumps({"tuned": [entry]}))
    with pytest.raises(UserError, match="is damaged"):
        find_tuned(model, lm)


def test_entries_of_several_metrics_lie_side_by_side_and_the_last_counts(model, lm):
    other = DecodingWeights(3.0, 1.0)
    keep_tuned(model, lm, FOUND, {"data": "a", "metric": "wer"})
    path = keep_tuned(model, lm, other, {"data": "b", "metric": "cer"})
    assert find_tuned(model, lm).weights == other
    keep_tuned(model, lm, FOUND, {"data": "c", "metric": "wer"})
    assert find_tuned(model, lm).data == "c"
    assert [entry["metric"] for entry in json.loads(path.read_text())["tuned"]] == ["cer", "wer"]


def test_an_entry_applies_to_its_lexicon_and_an_old_one_to_any(model, lm, tmp_path):
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("A\tA |\n")
    path = keep_tuned(model, lm, FOUND, {"data": "all words"})
    assert find_tuned(model, lm, lexicon=lexicon) is None
    keep_tuned(model, lm, DecodingWeights(3.0, 1.0), {"data": "few"}, lexicon=lexicon)
    assert find_tuned(model, lm).data == "all words"
    assert find_tuned(model, replace(lm, lexicon=lexicon)).data == "few"
    entries = json.loads(path.read_text())["tuned"]
    del entries[0]["lexicon"]
    path.write_text(json.dumps({"tuned": entries[:1]}))
    assert find_tuned(model, lm).weights == find_tuned(model, lm, lexicon=lexicon).weights == FOUND
    keep_tuned(model, lm, DecodingWeights(3.0, 1.0), {"data": "few"}, lexicon=lexicon)
    assert find_tuned(model, lm) is None  # the old entry was replaced


def test_weights_are_forgotten_for_one_pair_alone(model, lm):
    second = rescored(LmLocation("none", None, None))
    keep_tuned(model, lm, FOUND, {"data": "a", "metric": "wer"})
    keep_tuned(model, lm, FOUND, {"data": "b", "metric": "cer"})
    keep_tuned(model, lm, FOUND, {"data": "second pass"}, second)
    assert [tuned.data for tuned in forget_tuned(model, lm)] == ["a", "b"]
    assert find_tuned(model, lm) is None and forget_tuned(model, lm) == []
    assert find_tuned(model, lm, second).data == "second pass"
