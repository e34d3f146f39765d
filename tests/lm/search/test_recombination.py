"""Merging by the language model's state and by history, against everything that can be found.

Language models, lexicons, weights and emissions are drawn at random. Every sequence of words is
scored by its best path, which is found by extending every text frame by frame.
"""

import random

import numpy as np
import pytest
from random_searches import ALL, Case, random_arpa, words_of

from lm.decoding import BeamOptions, DecodingWeights
from lm.search.compiled import CompiledSearch
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))
WAYS = ("state", "history")


def alike(ours, theirs, tied: bool) -> None:
    """Two lists of hypotheses with the same words, times, confidences and scores.

    tied: nothing tells words of one spelling apart, and any of them may stand for the others.
    """
    for a, b in zip(ours, theirs, strict=True):
        assert (a.symbols, a.frames) == (b.symbols, b.frames)
        assert tied or a.words == b.words
        assert [a.score, a.acoustic_score, a.lm_score] == pytest.approx(
            [b.score, b.acoustic_score, b.lm_score], abs=1e-4
        )


@pytest.mark.parametrize("block", range(10))
def test_the_n_best_are_the_n_best_of_everything(tmp_path, block):
    """Three hundred cases by state, each with its scores; and the same lists by history."""
    for seed in range(30 * block, 30 * (block + 1)):
        case = Case(seed, tmp_path)
        count = case.draw.choice((1, 2, 5, 20, 10**5))
        emission = case.emission(case.draw.randint(1, 6))
        expected = case.enumerated(emission)
        [found] = case.compiled("state", nbest=count)(emission[None], [len(emission)])
        best = sorted(expected.values(), reverse=True)[:count]
        assert [h.score for h in found] == pytest.approx(best, abs=1e-3), seed
        assert len({words_of(h) for h in found}) == len(found) == len(best)
        for one in found:
            words = words_of(one)
            assert one.score == pytest.approx(expected[words], abs=1e-3)
            assert one.lm_score == pytest.approx(case.said(words), abs=1e-3)
            if case.weights.sil_score == 0:
                assert one.acoustic_score == pytest.approx(one.score - case.beside(words), abs=1e-3)
        [by_history] = case.compiled("history", nbest=count)(emission[None], [len(emission)])
        assert [h.score for h in by_history] == pytest.approx([h.score for h in found], abs=1e-3)


@pytest.mark.parametrize("block", range(5))
def test_without_a_limit_both_ways_find_the_same_best_path(tmp_path, block):
    """Longer input, where only the threshold drops anything: a state's best is what it was.

    Nothing that is found by history is lost by state, as a way is held against the threshold
    once, where it loses; so each place in the list has at least its score.
    """
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        case = Case(seed, tmp_path)
        emission, threshold = case.emission(case.draw.randint(8, 20)), case.draw.uniform(2, 9)
        for count in (1, 4):
            (ours,), (theirs,) = (
                case.compiled(way, threshold=threshold, nbest=count)(
                    emission[None], [len(emission)]
                )
                for way in WAYS
            )
            alike(ours[:1], theirs[:1], case.model is None)
            assert len(ours) >= len(theirs)
            for a, b in zip(ours, theirs, strict=False):
                assert a.score >= b.score - 1e-4
        tensors = case.batched("state", threshold=threshold)(emission[None], [len(emission)])
        alike(tensors[0], theirs[:1], case.model is None)


@pytest.mark.parametrize("engine", ["compiled", "batched"])
def test_a_narrow_beam_claims_no_more_than_there_is(tmp_path, engine):
    """Scores are those of a path of these words, none above the best one."""
    for seed in range(2000, 2040):
        case = Case(seed, tmp_path)
        emission, beam = case.emission(6), case.draw.randint(1, 12)
        expected = case.enumerated(emission)
        count = case.draw.choice((1, min(3, beam)))
        [found] = getattr(case, engine)("state", beam=beam, nbest=count)(emission[None], [6])
        assert len({words_of(h) for h in found}) == len(found)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for one in found:
            if not one.symbols or one.symbols[-1] == 1:  # else none has ended its last word
                assert one.score <= expected[words_of(one)] + 1e-3


@pytest.mark.parametrize("engine", ["compiled", "batched"])
def test_a_narrow_beam_holds_more_by_state(tmp_path, engine):
    """Not so in every case, but in most of those where it makes a difference."""
    better = worse = 0
    for seed in range(3000, 3040 if engine == "compiled" else 3015):
        case = Case(seed, tmp_path)
        emission = case.emission(25)
        (by_state,), (by_history,) = (
            [h.score for [h] in getattr(case, engine)(way, beam=8)(emission[None], [25])]
            for way in WAYS
        )
        better += by_state > by_history + 1e-3
        worse += by_state < by_history - 1e-3
    assert better > 3 * worse, (better, worse)
    assert better >= 5, (better, worse)


@pytest.mark.parametrize("way", WAYS)
def test_both_engines_drop_the_same(tmp_path, way):
    """Narrow beams, where what is dropped depends on what was merged."""
    compared = 0
    for seed in range(5000, 5025):
        case = Case(seed, tmp_path)
        if case.model is None or case.weights.lm_weight < 0.1:
            continue  # homophones tie, and either may be dropped
        emission, beam = case.emission(15), case.draw.randint(2, 20)
        (ours,), (theirs,) = (
            search(way, beam=beam)(emission[None], [15]) for search in (case.compiled, case.batched)
        )
        alike(ours, theirs, tied=False)
        compared += 1
    assert compared > 15


def test_unknown_words_are_found_as_by_history(tmp_path):
    """Lists with unknown words keep histories apart; a single best path does not need to."""
    for seed in range(4000, 4020):
        case = Case(seed, tmp_path)
        weights = DecodingWeights(case.weights.lm_weight, 0.2, unk_score=case.draw.uniform(-3, 0))
        emission = case.emission(9)
        for count in (1, 5):
            (ours,), (theirs,) = (
                case.compiled(way, 20000, 30.0, count, weights)(emission[None], [9]) for way in WAYS
            )
            alike(ours, theirs, case.model is None)


def test_words_of_phones_end_in_both_ways(tmp_path):
    (tmp_path / "lexicon.txt").write_text("bob\tb aa b\nah\taa\nbah\tb aa\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", PHONES)
    arpa = random_arpa(tmp_path / "lm.arpa", random.Random(3), ("bob", "ah", "bah"))
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(0, 1.5, (10, 3))
        emission = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        (ours,), (theirs,) = (
            CompiledSearch.open(
                PHONES,
                DecodingWeights(1.0, 0.3),
                BeamOptions(ALL, None, float(ALL), 6, way),
                lexicon,
                arpa,
                tmp_path / "cache",
            )(emission[None], [10])
            for way in WAYS
        )
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-4)
        assert len({words_of(h) for h in ours}) == 6


def test_one_utterance_says_nothing_of_the_next(tmp_path):
    """Lists of several utterances in threads are those of each alone."""
    case = Case(17, tmp_path)
    emissions = [case.emission(frames) for frames in (30, 1, 25, 12)]
    search = case.compiled("state", beam=30, nbest=5)
    search.threads = 3
    batch = np.zeros((4, 30, 4), np.float32)
    for row, emission in zip(batch, emissions, strict=True):
        row[: len(emission)] = emission
    together = search(batch, [len(emission) for emission in emissions])
    assert together == [search(emission[None], [len(emission)])[0] for emission in emissions]


def test_another_word_for_it_is_refused():
    with pytest.raises(ValueError, match="--recombine must be one of state, history; got 'words'"):
        BeamOptions(recombine="words")
