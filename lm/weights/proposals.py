"""Bayesian search over DecodingWeights: which points to try next.

Points are proposed in batches of fixed size. Batch k is a function of the seed, of k, and of the
points and values of earlier batches: it is the same in every process, and after any interruption.
Baevski et al. (2020), appendix B: 128 trials, LM weight in [0, 5], word insertion in [-5, 5].
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lm.decoding import DecodingWeights

Point = tuple[float, ...]  # LM weight, word score, and silence score where it is tuned

BATCH = 8  # points proposed at once
FIRST = ((0.4, 0.4, 0.9), (0.2, 0.6, 1.0), (0.7, 0.5, 0.75))
"""The first points, as shares of the bounds: (2, -1), the paper's before tuning; a light LM; a
heavy one."""
DIGITS = 4  # of a coordinate, so that tables show exactly what was tried
STEP = 1e-3  # improvements of an error rate that are smaller are not looked for
SAMPLES = 4000  # points at which the acquisition function is evaluated


class TuningError(ValueError):
    """A tuning run that cannot be carried out as asked."""


@dataclass(frozen=True)
class Bounds:
    """The box that is searched: (low, high) of each weight. Raises TuningError for an empty one."""

    lm_weight: tuple[float, float] = (0.0, 5.0)
    word_score: tuple[float, float] = (-5.0, 5.0)
    sil_score: tuple[float, float] | None = None
    """None to keep the silence score at 0."""

    def __post_init__(self) -> None:
        for flag, (low, high) in self._named():
            if not (math.isfinite(low) and math.isfinite(high)):
                raise TuningError(f"{flag} must be two finite numbers, got {low} {high}.")
            if not low < high:
                raise TuningError(
                    f"{flag} takes the lower bound, then the upper: got {low:g} {high:g}."
                )
        if self.lm_weight[0] < 0:
            raise TuningError(f"--lm-weight must be 0 or more, got {self.lm_weight[0]:g}.")

    @property
    def sides(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each coordinate of a Point."""
        return tuple(side for _, side in self._named())

    def weights(self, point: Point) -> DecodingWeights:
        """The weights that a point stands for."""
        return DecodingWeights(point[0], point[1], sil_score=point[2] if len(point) > 2 else 0.0)

    def at(self, shares: Iterable[float]) -> Point:
        """The point at these shares, in [0, 1], along the sides of the box."""
        sides = self.sides
        return tuple(
            round(low + share * (high - low), DIGITS)
            for share, (low, high) in zip(shares, sides, strict=False)
        )

    def _named(self) -> list[tuple[str, tuple[float, float]]]:
        sides = [("--lm-weight", self.lm_weight), ("--word-score", self.word_score)]
        return sides if self.sil_score is None else [*sides, ("--sil-score", self.sil_score)]


def propose(
    bounds: Bounds,
    seed: int,
    batch: int,
    points: Sequence[Point] = (),
    values: Sequence[float] = (),
    size: int = BATCH,
) -> list[Point]:
    """The `size` points of batch number `batch`.

    points, values: all points of earlier batches and their values; lower is better.
    Batch 0 has the starting points, then random ones. Later batches take the expected improvement
    under a Gaussian process (scikit-optimize); within a batch, points without a value count as the
    lowest value so far (constant liar).
    """
    generator = np.random.default_rng([seed, batch])
    if batch == 0 or len(set(points)) < 2:
        start = [bounds.at(shares) for shares in FIRST]
        spread = _latin(generator, size, len(bounds.sides))
        return [*start, *(bounds.at(shares) for shares in spread)][:size]
    with warnings.catch_warnings():
        # A length scale at its bound, a deprecation in a dependency: the user can mend neither.
        warnings.simplefilter("ignore")
        proposed = _ask(bounds, generator, points, values, size)
    tried = set(points)
    found: list[Point] = []
    for point in (tuple(round(float(x), DIGITS) for x in point) for point in proposed):
        while point in tried:  # rounding made it equal to one that is known already
            point = bounds.at(generator.random(len(bounds.sides)))
        tried.add(point)
        found.append(point)
    return found


def batches(trials: int) -> int:
    """The number of batches that hold `trials` trials."""
    return -(-trials // BATCH)


def _latin(generator: np.random.Generator, count: int, sides: int) -> np.ndarray:
    """(count, sides) shares: each side is cut in `count` parts with one point in each.

    Latin hypercube sampling, McKay et al. (1979).
    """
    strata = np.stack([generator.permutation(count) for _ in range(sides)], 1)
    return (strata + generator.random((count, sides))) / count


def _ask(
    bounds: Bounds,
    generator: np.random.Generator,
    points: Sequence[Point],
    values: Sequence[float],
    size: int,
) -> list[list[float]]:
    """The points of expected improvement, by scikit-optimize.

    The kernel is fitted once, to the values that are known. A lie says nothing of it: while points
    count as the lowest value it stays, and each of them costs one Cholesky factorisation. With a
    fit after each lie nine tenths of the time went there.
    """
    from skopt import Optimizer
    from skopt.space import Real

    kernel = _fitted(bounds, points, values)
    optimizer = Optimizer(
        [Real(low, high) for low, high in bounds.sides],
        _process(kernel, optimizer=None),
        n_initial_points=1,
        acq_func="EI",
        acq_func_kwargs={"xi": STEP},
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": SAMPLES},
        random_state=int(generator.integers(2**31)),
    )
    # In one call, since it fits after each.
    optimizer.tell([list(point) for point in points], [float(value) for value in values])
    proposed: list[list[float]] = []
    for left in range(size, 0, -1):
        proposed.append(optimizer.ask())
        optimizer.tell(proposed[-1], float(min(values)), fit=left > 1)
    return proposed


def _fitted(bounds: Bounds, points: Sequence[Point], values: Sequence[float]) -> Any:
    """The kernel of largest likelihood over shares of the box, its noise included."""
    from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    count = len(bounds.sides)
    lows, highs = np.array(bounds.sides).T
    kernel = ConstantKernel(1.0, (0.01, 1000.0)) * Matern(
        [1.0] * count, [(0.01, 100.0)] * count, nu=2.5
    )
    process = _process(kernel + WhiteKernel())
    process.fit((np.array(points) - lows) / (highs - lows), np.array(values, np.float64))
    # After a fit scikit-optimize keeps the noise beside the kernel, which then has none.
    return process.kernel_.k1 + WhiteKernel(process.noise_)


def _process(kernel: Any, **how: Any) -> Any:
    """scikit-optimize's Gaussian process, but for how it predicts.

    Its own variances take n^2 products for each point, of n known ones; scikit-learn's solve one
    triangular system for all points.
    """
    from skopt.learning import GaussianProcessRegressor

    class Process(GaussianProcessRegressor):  # type: ignore[misc]
        def predict(self, points: np.ndarray, return_std: bool = False) -> Any:
            return super(GaussianProcessRegressor, self).predict(points, return_std)

    return Process(kernel, normalize_y=True, noise="gaussian", **how)
