"""Whether tuned weights are better than those before tuning, by more than chance."""

from pathlib import Path

import numpy as np
import pytest

from lm.decoding import DecodingWeights
from lm.weights.proposals import Bounds
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.error_rate import paired_interval
from w2v2cli.recognition.tuning.gain import edges, measure_gain

SETTINGS = RecognitionOptions(
    ModelLocation("mine", Path("m"), None), LmLocation("4gram", Path("lm.arpa"), None)
)
BEFORE = DecodingWeights(2.0, -1.0)  # of every n-gram that nobody has tuned
BEST = DecodingWeights(1.0, 0.5)


def test_the_paired_interval_is_that_of_the_delta_method():
    generator = np.random.default_rng(1)
    lengths = generator.integers(5, 30, 400)
    first = generator.binomial(lengths, 0.3)
    second = np.maximum(first - generator.integers(0, 2, 400), 0)  # better, and correlated
    low, high = paired_interval(first.tolist(), second.tolist(), lengths.tolist())
    gain = (first - second).sum() / lengths.sum()
    left = (first - second) - gain * lengths
    deviation = np.sqrt((left**2).sum()) / lengths.sum()
    assert (low + high) / 2 == pytest.approx(gain, abs=deviation / 3)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert paired_interval([], [], []) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("before", "best", "certain"),
    [
        ([3, 4, 3, 4, 3], [1, 2, 1, 2, 1], True),
        ([3, 4, 3, 4, 3], [5, 2, 1, 5, 2], False),
        ([3, 4, 3, 4, 3], [3, 4, 3, 4, 3], False),
    ],
)
def test_a_gain_is_certain_where_most_utterances_agree(tmp_path, before, best, certain):
    errors = {BEFORE: before, BEST: best}
    gain = measure_gain(SETTINGS, BEST, [10] * 5, errors.__getitem__, tmp_path, 0)
    assert (gain.weights, gain.rate) == (BEFORE, sum(before) / 50)
    assert gain.is_certain == certain


def test_the_weights_before_tuning_are_searched_with_once(tmp_path):
    asked = []

    def errors_with(weights):
        asked.append(weights)
        return [1, 2]

    first = measure_gain(SETTINGS, BEST, [10, 10], errors_with, tmp_path, 0)
    assert measure_gain(SETTINGS, BEST, [10, 10], errors_with, tmp_path, 0) == first
    assert asked == [BEFORE, BEST, BEST]
    (tmp_path / "untuned.json").write_text("{")
    assert measure_gain(SETTINGS, BEST, [10, 10], errors_with, tmp_path, 0) == first


def test_an_optimum_at_an_end_of_what_was_tried_is_told():
    assert edges((2.0, -1.0), Bounds()) == []
    assert edges((4.95, -1.0), Bounds()) == [
        "The optimum's --lm-weight 4.95 lies at the end of what was tried, 0 to 5: "
        "better weights may lie beyond (--lm-weight LOW HIGH)."
    ]
    assert edges((0.0, 5.0), Bounds()) == [
        "The optimum's --lm-weight 0 lies at the end of what was tried, 0 to 5: "
        "the language model hardly helps here.",
        "The optimum's --word-score 5 lies at the end of what was tried, -5 to 5: "
        "better weights may lie beyond (--word-score LOW HIGH).",
    ]
