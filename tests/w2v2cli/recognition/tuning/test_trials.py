"""Tuning on a corpus with tables for searches: each utterance has a few hypotheses."""

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from lm.hypothesis import Hypothesis, Word
from lm.text.normalizers import Normalizer
from lm.weights.proposals import propose
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.recognition.tuning import trials as tuning
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Study
from w2v2cli.recognition.tuning.trials import Tuning

UTTERANCES = 60
LETTERS = "ABCDEFGHIJ"


class Corpus:
    """Utterances of ten words; the more words of a hypothesis are wrong, the worse its scores."""

    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        self.segments = tuple(((i, i + 1),) for i in range(UTTERANCES))
        self.lists, self.searched = [], 0
        for _ in range(UTTERANCES):
            found = []
            for wrong in range(8):
                words = [*LETTERS[: 10 - wrong], *("X" * int(generator.integers(0, wrong + 1)))]
                acoustic = -30 - generator.normal(0.5 * wrong, 4) + 0.5 * len(words)
                found.append((words, acoustic, -12 - generator.normal(1.2 * wrong, 1.5)))
            self.lists.append(found)
        self.references = References(
            [Utterance(str(i), Path(), " ".join(LETTERS)) for i in range(UTTERANCES)]
        )

    def of(self, utterance):
        return [np.full((1, 1), utterance, np.float32)]

    def submit(self, emission, weights):
        self.searched += 1
        hypotheses = [
            Hypothesis(tuple(Word(w, 0, 1, 1.0) for w in words), (), (), acoustic, lm,
                       acoustic + weights.lm_weight * lm + weights.word_score * len(words))
            for words, acoustic, lm in self.lists[int(emission[0, 0])]
        ]  # fmt: skip
        future = Future()
        future.set_result(sorted(hypotheses, key=lambda h: -h.score)[:4])
        return future

    def tune(self, folder, options, workers=1):
        with Study(folder / "study.sqlite", {}) as study:
            return Tuning(options, self.references, self, study, self.submit, workers).run()


@pytest.fixture(autouse=True)
def _random_points(monkeypatch):
    """The proposals of a Gaussian process have tests of their own; random ones take no time."""

    def proposed(bounds, seed, batch, *_):
        if batch == 0:
            return propose(bounds, seed * 1000 + batch, 0)
        return [bounds.at(s) for s in np.random.default_rng([seed, batch]).random((8, 2))]

    monkeypatch.setattr(tuning, "propose", proposed)


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
    searched = corpus.searched
    assert corpus.tune(tmp_path / "twice", TuningOptions(48, seed=2)) == once
    assert corpus.searched == searched  # it was all there


def test_a_broken_search_leaves_its_trial_to_the_next_call(tmp_path):
    corpus = Corpus()
    whole, submit = Corpus().tune(tmp_path / "whole", TuningOptions(16)), corpus.submit

    def breaks(emission, weights):
        if corpus.searched == 100:
            raise KeyboardInterrupt
        return submit(emission, weights)

    corpus.submit = breaks
    with pytest.raises(KeyboardInterrupt):
        corpus.tune(tmp_path / "broken", TuningOptions(16))
    corpus.submit = submit
    assert corpus.tune(tmp_path / "broken", TuningOptions(16)) == whole
    # The first search was whole and is not done again; the second was cut off.
    assert corpus.searched <= 100 + whole.cost - UTTERANCES + 2 * 16


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
