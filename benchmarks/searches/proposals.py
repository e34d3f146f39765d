"""Proposing the 128 points of a tuning, beside scikit-optimize's own way, in one run.

    python -m benchmarks.searches.proposals [--trials 128] [--seeds 3]

Its own way (`Optimizer.ask` with a constant liar) fits the kernel anew after every point that it
proposes; ours fits it once a batch. Prints for both the CPU seconds, and the lowest rate among the
first 32, 64 and all points of a made surface: a bent valley with steps, as word errors have them.
All are means over the seeds.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from lm.weights import proposals
from lm.weights.proposals import BATCH, SAMPLES, STEP, Bounds, Point, batches, propose

WORDS = 1500  # of the made references


def rate(point: Point) -> float:
    """The error rate of a made corpus with these weights."""
    weight, score = point
    bent = 0.02 * (weight - 2.1 + 0.35 * score) ** 2 + 0.003 * (score + 0.5) ** 2
    waves = 0.002 * math.sin(7 * weight) * math.cos(5 * score)
    return round((0.12 + bent + waves) * WORDS) / WORDS


def own_way(
    bounds: Bounds,
    generator: np.random.Generator,
    points: Sequence[Point],
    values: Sequence[float],
    size: int,
) -> list[list[float]]:
    """A batch as scikit-optimize proposes it."""
    from skopt import Optimizer
    from skopt.learning import GaussianProcessRegressor
    from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern

    kernel = ConstantKernel(1.0, (0.01, 1000.0)) * Matern([1.0] * 2, [(0.01, 100.0)] * 2, nu=2.5)
    optimizer = Optimizer(
        bounds.sides,
        GaussianProcessRegressor(kernel, normalize_y=True, noise="gaussian"),
        n_initial_points=1,
        acq_func="EI",
        acq_func_kwargs={"xi": STEP},
        acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": SAMPLES},
        random_state=int(generator.integers(2**31)),
    )
    optimizer.tell([list(point) for point in points], list(values))
    proposed: list[list[float]] = optimizer.ask(n_points=size, strategy="cl_min")
    return proposed


def tuned(trials: int, seed: int) -> tuple[float, list[float]]:
    """CPU seconds of the proposals, and the rate of each point."""
    points: list[Point] = []
    values: list[float] = []
    seconds = 0.0
    for batch in range(batches(trials)):
        began = time.process_time()
        points += propose(Bounds(), seed, batch, points, values)
        seconds += time.process_time() - began
        values += [rate(point) for point in points[batch * BATCH :]]
    return seconds, values[:trials]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    ways: dict[str, Callable[..., list[list[float]]]] = {
        "scikit-optimize's own": own_way,
        "w2v2": proposals._ask,
    }
    shown = Table(title=f"{given.trials} points, {given.seeds} seeds")
    for column in ("", "CPU s", "lowest rate % at 32", "at 64", f"at {given.trials}"):
        shown.add_column(column)
    tuned(2 * BATCH, 0)  # imports
    for name, ask in ways.items():
        with patch.object(proposals, "_ask", ask), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [tuned(given.trials, seed) for seed in range(given.seeds)]
        seconds = np.mean([each for each, _ in found])
        lowest = [np.mean([min(v[:n]) for _, v in found]) for n in (32, 64, given.trials)]
        shown.add_row(name, f"{seconds:.2f}", *(f"{value * 100:.2f}" for value in lowest))
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
