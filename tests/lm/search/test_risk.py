"""Expected word errors over a lattice, against the edit distances to every one of its paths."""

import itertools
import math

import numpy as np
import pytest
from random_searches import ALL, Case, words_of

from lm.lattice import Lattice

WORDS = ("A", "AB", "BEE", "BE")


def distance(a, b) -> int:
    """The edit distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def shares_of(case, emission, scale):
    """The posterior of every sequence of words."""
    found: dict[tuple[str, ...], float] = {}
    for (words, _), score in case.paths(emission).items():
        found[words] = found.get(words, 0.0) + math.exp(scale * score)
    total = sum(found.values())
    return {words: share / total for words, share in found.items()}


def exact(words, shares) -> float:
    """The expected errors of a sequence of words."""
    return sum(share * distance(words, other) for other, share in shares.items())


def test_transcripts_of_few_expected_errors(tmp_path):
    """A hundred random cases, beside the least of all sequences of up to four words.

    The errors found are never below the true ones. Whatever is chosen is no worse than the best
    path in any of these cases, and the best of all in most.
    """
    best_of_all = lower = 0
    for seed in range(100):
        case = Case(seed, tmp_path)
        emission, scale = case.emission(case.draw.randint(3, 6)), case.draw.uniform(0.2, 0.6)
        [[best]] = case.compiled("state", lattice=True, lattice_beam=float(ALL))(
            emission[None], [len(emission)]
        )
        shares = shares_of(case, emission, scale)
        lattice, spoken = best.lattice, words_of(best)
        errors = exact(spoken, shares)
        assert errors - 1e-4 <= lattice.expected_errors(spoken, scale) <= errors + 0.2, seed
        chosen = tuple(lattice.least_errors(spoken, scale))
        fewer = exact(chosen, shares)
        assert fewer <= errors + 1e-4, seed
        assert lattice.expected_errors(chosen, scale) >= fewer - 1e-4
        lower += fewer < errors - 1e-4
        least = min(
            exact(words, shares)
            for count in range(5)
            for words in itertools.product(WORDS, repeat=count)
        )
        best_of_all += fewer < least + 1e-3
    assert lower > 10, lower
    assert best_of_all >= 80, best_of_all


def test_errors_of_words_that_the_lattice_lacks():
    """Two paths: A B with 0.7, and A with 0.3."""
    lattice = Lattice(
        ("A", "B"),
        np.array([0, 4, 6, 8], np.int32),
        np.array([0, 1, 1, 2], np.uint32),
        np.array([1, 2, 3, 3], np.uint32),
        np.array([0, 1, -1, -1], np.int32),
        np.log([1, 0.7, 0.3, 1]),
        np.zeros(4),
        np.zeros(4),
    )
    for words, errors in (
        (("A", "B"), 0.3),
        (("A",), 0.7),
        ((), 1.7),
        (("A", "C"), 1.0),
        (("C", "C"), 2.0),
        (("A", "B", "C"), 1.3),
    ):
        assert lattice.expected_errors(words) == pytest.approx(errors, abs=1e-3)
        assert lattice.least_errors(words) == ["A", "B"]


def test_the_likeliest_of_many_words_replaces_one_that_none_of_them_is():
    """Twelve words compete for a place, whichever of thirteen is not among them."""
    for lacking in range(13):
        labels = [word for word in range(13) if word != lacking]
        likeliest = labels[5]
        lattice = Lattice(
            tuple(f"W{i}" for i in range(13)),
            np.array([0, 4, 6], np.int32),
            np.array([0] * 12 + [1], np.uint32),
            np.array([1] * 12 + [2], np.uint32),
            np.array([*labels, -1], np.int32),
            np.log([*(0.5 if word == likeliest else 0.5 / 11 for word in labels), 1]),
            np.zeros(13),
            np.zeros(13),
        )
        assert lattice.least_errors(["ANOTHER"]) == [f"W{likeliest}"], lacking
