"""Tuning as Python calls it, on the model and the recordings that ship."""

from pathlib import Path

import pytest

from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import TUNING, DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.tuning.kept import find_tuned
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.session import corpus_to_tune, tune_corpus, untuned
from w2v2cli.recognition.tuning.trials import Tuning

SHIPPED = Path(__file__).parents[4] / "w2v2cli" / "shipped" / "corpus"


def test_weights_are_found_kept_and_not_searched_for_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    options = TuningOptions(trials=3)
    asked = DecodingOptions(lm="4gram", beam=5, device="cpu", workers=1)
    settings = resolve(untuned(asked, options), TUNING)
    corpus = corpus_to_tune(data=SHIPPED, split="dev-other")

    tried = tune_corpus(settings, corpus, options, keep=False)
    assert tried.kept is None and find_tuned(settings.model, settings.lm) is None
    assert len(tried.outcome.trials) == 3 and 0 < tried.rate <= 1
    assert tried.interval[0] <= tried.rate <= tried.interval[1]

    monkeypatch.setattr(Tuning, "_search", lambda *_: pytest.fail("searched again"))
    progress = []
    again = tune_corpus(settings, corpus, options, on_progress=lambda *step: progress.append(step))
    assert again.outcome == tried.outcome and again.study == tried.study
    assert again.study.parent == tmp_path / "studies"
    assert find_tuned(settings.model, settings.lm).weights == tried.weights
    assert [step[:2] for step in progress] == [(3, 3)]  # the acoustic model did not run again

    # What tuning found is used where a weight was not given, and only there.
    found = resolve(asked, TUNING).weights
    assert (found.lm_weight, found.word_score) == (
        tried.weights.lm_weight,
        tried.weights.word_score,
    )
    given = DecodingOptions(lm="4gram", lm_weight=0.5, sil_score=0.0)
    assert resolve(given, TUNING).weights.lm_weight == 0.5
    assert resolve(given, TUNING).weights.word_score == tried.weights.word_score


def test_one_split_is_tuned_on():
    with pytest.raises(UsageError, match="--split all names 4 splits: tune on one"):
        corpus_to_tune("all", SHIPPED)
