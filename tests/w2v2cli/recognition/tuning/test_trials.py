"""Tuning on a corpus with tables for searches."""

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from tuned_corpus import UTTERANCES, Corpus, random_points

from lm.text.normalizers import Normalizer
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.recognition.tuning import trials as tuning
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions


@pytest.fixture(autouse=True)
def _random_points(monkeypatch):
    monkeypatch.setattr(tuning, "propose", random_points)


def test_a_tenth_of_the_searches_finds_the_optimum_of_all_of_them(tmp_path):
    full, cheap = Corpus(), Corpus()
    exact = full.tune(tmp_path / "exact", TuningOptions(128, exact=True))
    found = cheap.tune(tmp_path / "cheap", TuningOptions(128))
    assert full.searched == exact.cost == 128 * UTTERANCES and all(
        t.kind == "exact" for t in exact.trials
    )
    assert found.cost <= 0.1 * exact.cost and cheap.searched <= found.cost + 2 * 128
    assert [t.point for t in found.trials] == [t.point for t in exact.trials]
    assert exact.interval[0] <= found.best.rate <= exact.interval[1]
    assert found.best.rate <= exact.best.rate + 0.005
    by_point = {t.point: t for t in exact.trials}
    for trial in found.trials:
        if trial.kind == "exact":  # what is called exact is what a full search makes
            assert trial.rate == by_point[trial.point].rate and trial.searched == UTTERANCES
    assert found.best.kind == "exact" and found.best.rate == min(
        t.rate for t in found.trials if t.kind == "exact"
    )


def test_workers_and_interruptions_change_nothing(tmp_path):
    once = Corpus().tune(tmp_path / "once", TuningOptions(48, seed=2))
    corpus = Corpus()
    begun = corpus.tune(tmp_path / "twice", TuningOptions(48, seed=2), workers=3)
    assert begun == once
    assert Corpus().tune(tmp_path / "gpu", TuningOptions(48, seed=2), at_once=64) == once
    searched = corpus.searched
    assert corpus.tune(tmp_path / "twice", TuningOptions(48, seed=2)) == once
    assert corpus.searched == searched  # it was all there


def test_a_device_gets_as_many_searches_as_it_takes_those_of_similar_length_together(tmp_path):
    corpus = Corpus()
    lengths = np.random.default_rng(3).permutation(UTTERANCES) + 1
    corpus.segments = tuple(((0, int(n)),) for n in lengths)
    asked, waiting = [], set()

    class Watched(Future):
        def result(self, timeout=None):
            waiting.discard(self)
            return super().result()

    def submit(emission, weights):
        found = []
        for each in weights:
            future = Watched()
            future.set_result(corpus.search(int(emission[0, 0]), each).result())
            found.append(future)
        waiting.update(found)
        asked.append((int(emission[0, 0]), len(weights), len(waiting)))
        return found

    corpus.submit = submit
    corpus.tune(tmp_path, TuningOptions(8), workers=1, at_once=12)
    # The first three trials go together: four utterances make a load, eight a lot.
    assert [weights for _, weights, _ in asked[:UTTERANCES]] == [3] * UTTERANCES
    assert max(searches for *_, searches in asked[:UTTERANCES]) == 24
    assert sorted(u for u, *_ in asked[:UTTERANCES]) == list(range(UTTERANCES))
    for first in range(0, UTTERANCES, 8):
        lot = [lengths[utterance] for utterance, *_ in asked[first : min(first + 8, UTTERANCES)]]
        assert lot == sorted(lot, reverse=True)


def test_a_broken_search_leaves_its_trial_to_the_next_call(tmp_path):
    corpus = Corpus()
    whole, submit = Corpus().tune(tmp_path / "whole", TuningOptions(16)), corpus.submit

    def breaks(emission, weights):
        if corpus.searched >= 100:
            raise KeyboardInterrupt
        return submit(emission, weights)

    corpus.submit = breaks
    with pytest.raises(KeyboardInterrupt):
        corpus.tune(tmp_path / "broken", TuningOptions(16))
    corpus.submit = submit
    assert corpus.tune(tmp_path / "broken", TuningOptions(16)) == whole
    # Lots that were whole are not searched again.
    assert corpus.searched <= whole.cost + 2 * 16


def test_nothing_to_compare_with():
    with pytest.raises(UserError, match="2 utterances have no transcript"):
        References([Utterance("a", Path(), None), Utterance("b", Path(), None)])
    with pytest.raises(UserError, match="The transcripts hold no words: there"):
        References([Utterance("a", Path(), ""), Utterance("b", Path(), "...")])


def test_metrics():
    utterances = [Utterance("a", Path(), "ONE TWO", phones=("sil", "aa", "ao", "tcl", "t"))]
    assert References(utterances, "wer").errors(0, "ONE TOO") == 1
    russian = [Utterance("a", Path(), "Привет, мир")]
    basic = References(russian, "wer", Normalizer.named("basic"))
    assert (basic.length, basic.errors(0, "привет мир"), basic.errors(0, "привет")) == (2, 0, 1)
    with pytest.raises(UserError, match="hold no words"):
        References(russian)
    assert (
        References(utterances, "cer").errors(0, "ONE TOO") == 1
        and References(utterances, "cer").length == 7
    )
    per = References([Utterance("a", Path(), None, phones=("aa", "t", "iy"))], "per")
    assert per.errors(0, "ao t iy") == 0 and per.errors(0, "ao iy") == 1  # ao is scored as aa
