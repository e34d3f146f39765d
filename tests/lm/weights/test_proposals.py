"""Points proposed, and the optimum they lead to."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from skopt.optimizer import optimizer

from lm.weights import proposals
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


@pytest.mark.filterwarnings("ignore")  # as `propose` does
def test_a_lie_moves_the_prediction_and_not_the_kernel(monkeypatch):
    """Each point has the largest expected improvement of the candidates, by a process of our own.

    Its kernel is fitted to the known values alone, and lies count as the lowest of them.
    """
    seen = []
    acquisition = optimizer._gaussian_acquisition

    def watched(X, model, **how):  # noqa: N803
        values = acquisition(X=X, model=model, **how)
        seen.append((X, values, model.kernel_))
        return values

    monkeypatch.setattr(optimizer, "_gaussian_acquisition", watched)
    bounds = Bounds()
    points = propose(bounds, 0, 0) + propose(bounds, 1, 0)[3:]
    values = bowl(points)
    fitted = proposals._fitted(bounds, points, values)
    proposed = propose(bounds, 5, 1, points, values)
    assert len(seen) == len(proposed) == BATCH
    covariance, noise = fitted.k1, fitted.k2.noise_level
    lows, highs = np.array(bounds.sides).T
    known = (np.array(points) - lows) / (highs - lows)
    told = np.array(values)
    for point, (candidates, found, kernel) in zip(proposed, seen, strict=True):
        assert kernel.k1 == covariance
        mean, spread = told.mean(), told.std()
        gram = covariance(known) + noise * np.eye(len(known)) + 1e-10 * np.eye(len(known))
        across = covariance(candidates, known)
        expected = mean + spread * across @ np.linalg.solve(gram, (told - mean) / spread)
        variance = covariance.diag(candidates) - np.einsum(
            "ij,ji->i", across, np.linalg.solve(gram, across.T)
        )
        deviation = spread * np.sqrt(np.maximum(variance, 1e-300))
        better = min(values) - proposals.STEP - expected
        share = better / deviation
        improvement = better * norm.cdf(share) + deviation * norm.pdf(share)
        np.testing.assert_allclose(-found, improvement, atol=1e-6)
        taken = candidates[np.argmin(found)]
        assert point == bounds.at(taken)
        known = np.vstack([known, taken])
        told = np.append(told, min(values))


@pytest.mark.filterwarnings("ignore")
def test_the_kernel_is_that_of_the_largest_likelihood():
    bounds = Bounds()
    points = propose(bounds, 0, 0) + propose(bounds, 1, 0)[3:]
    fitted = proposals._fitted(bounds, points, bowl(points))
    process = GaussianProcessRegressor(fitted, optimizer=None, normalize_y=True)
    lows, highs = np.array(bounds.sides).T
    process.fit((np.array(points) - lows) / (highs - lows), bowl(points))
    best = process.log_marginal_likelihood(fitted.theta)
    for i in range(len(fitted.theta)):
        for step in (-0.3, 0.3):
            theta = fitted.theta.copy()
            theta[i] = np.clip(theta[i] + step, *fitted.bounds[i])
            assert process.log_marginal_likelihood(theta) < best + 1e-6
