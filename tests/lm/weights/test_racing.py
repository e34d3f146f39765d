"""Races on simulated errors: how often the better one is stopped, and how early the worse one."""

import numpy as np
import pytest

from lm.weights.racing import Race, spent

UTTERANCES = 300


def run(rival, candidate, alpha, generator):
    order = generator.permutation(len(rival))
    race = Race(rival[order], alpha)
    for at, errors in enumerate(candidate[order], 1):
        if race.add(int(errors)):
            return race.verdict, at
    return None, len(order)


def pair(generator, extra):
    """Errors of a rival, and of a candidate with `extra` more in all."""
    rival = generator.poisson(1.8, UTTERANCES)
    candidate = np.maximum(
        rival + generator.integers(-1, 2, UTTERANCES) * (generator.random(UTTERANCES) < 0.5), 0
    )
    while (gap := int(rival.sum() + extra - candidate.sum())) != 0:
        at = generator.integers(UTTERANCES)
        candidate[at] = max(candidate[at] + np.sign(gap), 0)
    return rival, candidate


@pytest.mark.parametrize("extra", [0, -10])
def test_a_point_as_good_or_better_is_rarely_stopped(extra):
    alpha, races = 0.1, 400
    generator = np.random.default_rng(1)
    stopped = sum(
        run(*pair(generator, extra), alpha, generator)[0] is not None for _ in range(races)
    )
    # Binomial, 400 races at the stated rate: more than 58 has probability 0.2%.
    assert stopped <= 58
    if extra < 0:
        assert stopped < 40


def test_heavy_tails_do_not_fool_it():
    """The rival errs often in a few utterances, the candidate once in many; or the reverse."""
    generator = np.random.default_rng(2)
    alpha, races, stopped = 0.1, 400, 0
    rival = np.zeros(UTTERANCES, int)
    rival[:3] = 60
    candidate = np.zeros(UTTERANCES, int)
    candidate[3:183] = 1  # 180 errors each: at first sight the candidate is far worse
    for _ in range(races):
        stopped += run(rival, candidate, alpha, generator)[0] is not None
    assert stopped <= 58


def test_a_worse_point_is_stopped_early():
    generator = np.random.default_rng(3)
    ends = [run(*pair(generator, 90), 0.01, generator) for _ in range(30)]
    assert all(verdict == "bet" for verdict, _ in ends)
    assert np.mean([end for _, end in ends]) < UTTERANCES * 0.6


def test_the_bound_waits_until_the_rivals_total_is_exceeded():
    race = Race([1, 1, 1, 1], alpha=1e-9)
    assert [race.add(2) for _ in range(3)] == [None, None, "bound"]
    race = Race([1, 1, 1, 1], alpha=1e-9)
    assert [race.add(1) for _ in range(4)] == [None] * 4  # as good is not worse


def test_the_parts_of_an_error_rate_add_up_to_it():
    assert sum(spent(0.05, race) for race in range(100_000)) == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(ValueError, match="between 0 and 1, got 0"):
        Race([1], 0)
