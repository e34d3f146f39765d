"""Tuning as Python calls it, on the model and the recordings that ship."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import TUNING, DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.tuning.gain import Gain
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
    assert corpus.is_miniature
    shutil.copytree(SHIPPED / "dev-other", tmp_path / "own")
    corpus = corpus_to_tune(data=tmp_path / "own")
    assert not corpus.is_miniature
    # What such a tuning gains over the weights before it may be chance; here it counts as certain.
    monkeypatch.setattr(Gain, "is_certain", True)

    tried = tune_corpus(settings, corpus, options, keep=False)
    assert tried.kept is None and find_tuned(settings.model, settings.lm) is None
    assert len(tried.outcome.trials) == 3 and 0 < tried.rate <= 1
    assert tried.interval[0] <= tried.rate <= tried.interval[1]

    monkeypatch.setattr(Tuning, "_searched", lambda *_: pytest.fail("searched again"))
    progress = []
    again = tune_corpus(settings, corpus, options, on_progress=lambda *step: progress.append(step))
    assert again.outcome == tried.outcome and again.study == tried.study
    assert again.study.parent == tmp_path / "studies"
    assert find_tuned(settings.model, settings.lm).weights == tried.weights
    assert [step[:2] for step in progress] == [(3, 3)]  # the acoustic model did not run again

    notes = []
    resolve(replace(asked, beam=6), TUNING, note=notes.append)
    assert "with beam 5, searched here with 6" in notes[0]

    # What tuning found is used where a weight was not given, and only there.
    found = resolve(asked, TUNING).weights
    assert (found.lm_weight, found.word_score) == (
        tried.weights.lm_weight,
        tried.weights.word_score,
    )
    given = DecodingOptions(lm="4gram", lm_weight=0.5, sil_score=0.0)
    assert resolve(given, TUNING).weights.lm_weight == 0.5
    assert resolve(given, TUNING).weights.word_score == tried.weights.word_score


def test_weights_of_the_miniature_or_by_chance_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    options = TuningOptions(trials=1)
    asked = untuned(DecodingOptions(lm="4gram", beam=5, device="cpu", workers=1), options)
    settings = resolve(asked, TUNING)
    shipped = tune_corpus(settings, corpus_to_tune(), options)
    assert shipped.kept is None and find_tuned(settings.model, settings.lm) is None
    assert shipped.refusal == (
        "These weights are not kept: 12 recordings that ship with w2v2 tell nothing of other "
        "speech."
    )
    shutil.copytree(SHIPPED / "dev-other", tmp_path / "own")
    own = tune_corpus(settings, corpus_to_tune(data=tmp_path / "own"), options)
    assert own.kept is None and find_tuned(settings.model, settings.lm) is None
    # The only trial has the weights before tuning.
    assert own.gain.interval == (0.0, 0.0) and own.gain.rate == own.rate
    assert own.refusal.startswith(
        "These weights are not kept: that they are better than LM weight 2 and word score -1 (WER "
    )


def test_one_split_is_tuned_on():
    with pytest.raises(UsageError, match="--split all names 4 splits: tune on one"):
        corpus_to_tune("all", SHIPPED)
