"""Points proposed, and the optimum they lead to."""

import numpy as np
import pytest

from lm.weights.proposals import BATCH, Bounds, TuningError, batches, propose

OPTIMUM = (1.7, 0.6)


def bowl(points):
    """A rate with one lowest place, and steps as error counts have them."""
    return [
        round(0.1 + 0.03 * (w - OPTIMUM[0]) ** 2 + 0.004 * (s - OPTIMUM[1]) ** 2, 4)
        for w, s in points
    ]


def tuned(objective, bounds, trials, seed):
    """Every point tried, a batch at a time, with its value."""
    points, values = [], []
    for batch in range(batches(trials)):
        proposed = propose(bounds, seed, batch, points, values)[: trials - len(points)]
        values += objective(proposed)
        points += proposed
    return list(zip(points, values, strict=True))


def test_the_optimum_of_a_known_function_is_found():
    tried = tuned(bowl, Bounds(), 40, seed=3)
    point, value = min(tried, key=lambda pair: pair[1])
    assert len(tried) == 40
    assert abs(point[0] - OPTIMUM[0]) < 0.3 and abs(point[1] - OPTIMUM[1]) < 0.8
    assert value < 0.1015  # random points come this close once in 100 or so
    random = np.random.default_rng(0).random((1000, 2)) * (5, 10) - (0, 5)
    assert np.mean(np.array(bowl(random)) < 0.1015) < 0.02


def test_a_seed_gives_the_same_points_again_and_another_others():
    first, again, other = (tuned(bowl, Bounds(), 2 * BATCH + 3, seed) for seed in (0, 0, 1))
    assert first == again and len(first) == 2 * BATCH + 3
    assert first[BATCH:] != other[BATCH:]


def test_a_batch_depends_on_what_came_before_and_on_nothing_else():
    points = propose(Bounds(), 5, 0)
    values = bowl(points)
    proposed = propose(Bounds(), 5, 1, points, values)
    propose(Bounds(), 5, 1, points, [-value for value in values])
    assert proposed == propose(Bounds(), 5, 1, points, values)
    assert len({*points, *proposed}) == 2 * BATCH


def test_points_lie_in_the_box_and_the_silence_score_joins_in():
    bounds = Bounds((1.0, 2.0), (-1.0, 0.0), (-8.0, 0.0))
    points = [
        point for point, _ in tuned(lambda points: [sum(p) for p in points], bounds, 2 * BATCH, 0)
    ]
    assert all(
        low <= x <= high
        for point in points
        for x, (low, high) in zip(point, bounds.sides, strict=True)
    )
    assert bounds.weights(points[0]).sil_score == points[0][2]
    assert Bounds().weights((1.0, 2.0)).sil_score == 0


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"lm_weight": (5.0, 0.0)}, "--lm-weight takes the lower bound, then the upper: got 5 0"),
        ({"word_score": (1.0, 1.0)}, "--word-score takes the lower bound"),
        ({"sil_score": (0.0, float("inf"))}, "--sil-score must be two finite numbers"),
        ({"lm_weight": (-1.0, 0.0)}, "--lm-weight must be 0 or more, got -1"),
    ],
)
def test_bounds_that_make_no_box(bounds, message):
    with pytest.raises(TuningError, match=message):
        Bounds(**bounds)
