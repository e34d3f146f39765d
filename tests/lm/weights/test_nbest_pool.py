"""Predictions against scoring each hypothesis by hand."""

import numpy as np
import pytest

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis, Word
from lm.score_parts import ScoreParts, parts_of
from lm.weights.nbest_pool import HypothesisPool


def test_predictions_equal_scoring_one_by_one():
    generator = np.random.default_rng(0)
    lists = [
        [
            ScoreParts(
                f"{segment} {i}",
                *generator.normal(-20, 5, 2),
                int(generator.integers(1, 9)),
                int(generator.integers(9)),
            )
            for i in range(generator.integers(1, 30))
        ]
        for segment in range(12)
    ]
    pool = HypothesisPool(len(lists))
    for segment, found in enumerate(lists):
        pool.add(segment, found[: len(found) // 2])
        pool.add(segment, found[len(found) // 2 :])
    assert pool.size == sum(map(len, lists))
    for _ in range(20):
        weights = DecodingWeights(
            generator.uniform(0, 5), generator.uniform(-5, 5), sil_score=generator.uniform(-2, 0)
        )
        by_hand = [max(found, key=lambda parts: parts.score(weights)).text for found in lists]
        assert pool.best(weights) == by_hand


def test_of_one_text_the_likeliest_path_counts():
    pool = HypothesisPool(2)
    pool.add(0, [ScoreParts("A", -9.0, -1.0, 1), ScoreParts("B", -5.0, -1.0, 1)])
    pool.add(0, [ScoreParts("A", -4.0, -1.0, 1), ScoreParts("A", -7.0, -1.0, 1)])
    assert pool.size == 2 and pool.best(DecodingWeights()) == ["A", ""]


def test_frames_of_silence_are_read_off_the_score():
    words = (Word("ONE", 0, 3, 1.0), Word("TWO", 4, 9, 1.0))
    weights = DecodingWeights(1.5, -2.0, sil_score=-0.5)
    score = -10.0 + 1.5 * -3.0 + 2 * -2.0 + 7 * -0.5
    parts = parts_of(Hypothesis(words, (), (), -10.0, -3.0, score + 1e-4), weights)
    assert parts == ScoreParts("ONE TWO", -10.0, -3.0, 2, 7)
    assert parts.score(weights) == pytest.approx(score)
    assert (
        parts_of(Hypothesis(words, (), (), -10.0, -3.0, -18.5), DecodingWeights(1.5, -2.0)).silence
        == 0
    )
