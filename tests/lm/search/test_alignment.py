"""Words laid onto frames, against all paths that say them; and minimum Bayes risk decoding."""

import numpy as np
import pytest
from random_searches import ALL, SPELLINGS, Case, words_of
from small_words import SMALL

from lm.decoding import DecodingWeights
from lm.search.alignment import aligned

SPELLED = {
    word: [[SMALL.index[letter] for letter in text] for text in texts]
    for word, texts in SPELLINGS.items()
}


def test_the_best_path_of_words_is_that_of_all_paths(tmp_path):
    """Score and ends, for every sequence of words that fits the frames."""
    compared = 0
    for seed in range(25):
        case = Case(seed, tmp_path)
        emission, sil = case.emission(case.draw.randint(1, 6)), case.weights.sil_score
        best = {}
        for (words, ends), score in case.paths(emission).items():
            path = score - case.beside(words)
            if words not in best or path > best[words][0]:
                best[words] = path, ends
        for words, (score, ends) in best.items():
            found = aligned(emission, [SPELLED[word] for word in words], 1, SMALL.blank, sil)
            gains = emission[np.arange(len(emission)), found.symbols]
            total = float(gains.sum()) + sil * int((found.symbols == 1).sum())
            assert total == pytest.approx(score, abs=1e-4), (seed, words)
            assert tuple(end + 1 for end in found.ends) == ends
            compared += 1
    assert compared > 200


def test_words_that_do_not_fit():
    assert aligned(np.zeros((2, 4), np.float32), [SPELLED["AB"]], 1, SMALL.blank) is None


def test_words_without_a_boundary_end_with_their_last_letter():
    """AB and B on six frames: A B blank B blank, and nothing but the blank at the end."""
    frames = np.full((6, 3), -9.0, np.float32)  # blank, A, B
    frames[np.arange(6), [1, 2, 0, 2, 2, 0]] = -0.1
    found = aligned(frames, [[[1, 2]], [[2]]], 0, 0)
    assert found.symbols.tolist() == [1, 2, 0, 2, 2, 0]
    assert found.ends == (1, 4)


def test_the_words_of_fewest_errors_come_first(tmp_path):
    """With their scores, times and posteriors; the others follow as they were."""
    changed = listed = 0
    for seed in range(700, 760):
        case = Case(seed, tmp_path)
        frames = case.draw.randint(3, 6)
        emission, count = case.emission(frames), case.draw.choice((1, 4))
        options = {"lattice": True, "lattice_beam": float(ALL), "nbest": count}
        [plain] = case.compiled("state", **options)(emission[None], [frames])
        [found] = case.compiled("state", mbr=True, mbr_scale=0.3, confidences=True, **options)(
            emission[None], [frames]
        )
        chosen = plain[0].lattice.least_errors(words_of(plain[0]), 0.3)
        assert list(words_of(found[0])) == chosen
        assert found[0].score == pytest.approx(case.enumerated(emission)[tuple(chosen)], abs=1e-3)
        assert found[0].lm_score == pytest.approx(case.said(chosen), abs=1e-3)
        if case.weights.sil_score == 0:
            acoustic = found[0].score - case.beside(tuple(chosen))
            assert found[0].acoustic_score == pytest.approx(acoustic, abs=1e-3)
        assert all(0 < word.confidence <= 1 for word in found[0].words)
        changed += words_of(found[0]) != words_of(plain[0])
        listed += count > 1
        others = [words_of(h) for h in found[1:]]
        assert others == [words_of(h) for h in plain if words_of(h) != tuple(chosen)][: count - 1]
    assert changed > 5
    assert listed > 10


def test_unknown_words_can_have_the_fewest_errors(tmp_path):
    weights = DecodingWeights(0.5, 0.2, unk_score=0.1)
    for seed in range(800, 815):
        case = Case(seed, tmp_path)
        emission = case.emission(6)
        (plain,), (best,) = (
            case.compiled("state", weights=weights, mbr=mbr, mbr_scale=0.3, lattice=True)(
                emission[None], [6]
            )[0]
            for mbr in (False, True)
        )
        errors = best.lattice.expected_errors
        assert errors(words_of(best), 0.3) <= errors(words_of(plain), 0.3)
        assert best.score <= plain.score + 1e-4
