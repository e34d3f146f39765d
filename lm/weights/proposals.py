"""Bayesian search over DecodingWeights: which to try next, and the loop that tries them. The objective is passed in.

Points are proposed in batches of fixed size, and batch k is a function of (seed, k, points and values of the batches
before): whoever computes it, however often the run was stopped, however many processes share the work, it is the same.
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
"""Shares of the bounds where every search begins: (2, -1), which the paper uses before tuning, a light and a heavy LM."""
DIGITS = 4  # of a coordinate: enough, and the table shows what was tried
SAMPLES = 4000  # at which the acquisition function is looked at


class TuningError(ValueError):
    """A search for weights that cannot be carried out as it was asked for."""


@dataclass(frozen=True)
class Bounds:
    """The box that is searched."""

    lm_weight: tuple[float, float] = (0.0, 5.0)
    word_score: tuple[float, float] = (-5.0, 5.0)
    sil_score: tuple[float, float] | None = None
    """None leaves the silence score at 0."""

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
        """A point as a search takes it."""
        return DecodingWeights(point[0], point[1], sil_score=point[2] if len(point) > 2 else 0.0)

    def at(self, shares: Iterable[float]) -> Point:
        """The point at these shares, in [0, 1], of the sides."""
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
    """The `size` points of batch number `batch`, given all points of the batches before and what they came to.

    Batch 0 is the starting points, then random ones. Later ones ask scikit-optimize for the expected improvement under a
    Gaussian process, each point of a batch taken to have come to the lowest value so far (constant liar). Lower is better.
    """
    generator = np.random.default_rng([seed, batch])
    if batch == 0 or len(set(points)) < 2:
        start = [bounds.at(shares) for shares in FIRST]
        spread = _latin(generator, size, len(bounds.sides))
        return [*start, *(bounds.at(shares) for shares in spread)][:size]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a length scale at its bound, a dependency's future: nothing the user could mend
        optimizer = _optimizer(bounds, generator)
        optimizer.tell([list(point) for point in points], [float(value) for value in values])
        proposed = optimizer.ask(n_points=size, strategy="cl_min")
    tried = set(points)
    found: list[Point] = []
    for point in (tuple(round(float(x), DIGITS) for x in point) for point in proposed):
        while point in tried:  # rounded onto one that is known already
            point = bounds.at(generator.random(len(bounds.sides)))
        tried.add(point)
        found.append(point)
    return found


def batches(trials: int) -> int:
    """How many batches hold so many trials."""
    return -(-trials // BATCH)


def _latin(generator: np.random.Generator, count: int, sides: int) -> np.ndarray:
    """(count, sides) shares, each side cut in `count` parts with one point in each (McKay et al., 1979)."""
    strata = np.stack([generator.permutation(count) for _ in range(sides)], 1)
    return (strata + generator.random((count, sides))) / count


def _optimizer(bounds: Bounds, generator: np.random.Generator) -> Any:
    """scikit-optimize's, knowing nothing yet; told everything at once it fits once, whatever the number of points."""
    from skopt import Optimizer
    from skopt.learning import GaussianProcessRegressor
    from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
    from skopt.space import Real

    sides = bounds.sides
    kernel = ConstantKernel(1.0, (0.01, 1000.0)) * Matern(
        [1.0] * len(sides), [(0.01, 100.0)] * len(sides), nu=2.5
    )
    process_seed, seed = (int(generator.integers(2**31)) for _ in range(2))
    return Optimizer(
        [Real(low, high) for low, high in sides],
        GaussianProcessRegressor(
            kernel, normalize_y=True, noise="gaussian", random_state=process_seed
        ),
        n_initial_points=1,
        acq_func="EI",
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": SAMPLES},
        random_state=seed,
    )
