"""Lattices scored again by another language model, against all their paths scored one by one.

Lattices are those of random searches; `test_lattice.py` shows that they hold all paths.
"""

import random

import numpy as np
import pytest
from random_searches import ALL, Case, lattice_of, paths_of, random_arpa, said

from lm.decoding import DecodingWeights
from lm.language_model import LanguageModelError
from lm.lattice_rescoring import SecondPass, rescored
from lm.ngram.automaton import CompiledNgramLM, automaton_file


class Histories:
    """A model of whole histories: a state is all words, log p a hash of it. It counts its calls."""

    log_base = np.e

    def __init__(self, words):
        self.words, self.asked = [*words, "<unk>"], []

    def start(self, count=1):
        return [()] * count

    def score(self, states, words):
        self.asked += [len(states)]
        after = [(*state, word) for state, word in zip(states, words, strict=True)]
        return np.array([self.log_prob(history) for history in after]), after

    def finish(self, states):
        return np.array([self.log_prob((*state, -1)) for state in states])

    @staticmethod
    def log_prob(history):
        return -3 * random.Random(repr(history)).random()


def sentence_score(model, words) -> float:
    states, total = model.start(), 0.0
    for word in words:
        index = model.words.index(word) if word in model.words else model.words.index("<unk>")
        score, states = model.score(states, [index])
        total += float(score[0])
    return total + float(model.finish(states)[0])


def drawn(seed, folder, count=3):
    """A few lattices of one search, another n-gram and how to score with it."""
    case = Case(seed, folder)
    draw = case.draw
    lattices = [
        lattice_of(case, case.emission(draw.randint(1, 6)))[1]
        for _ in range(draw.randint(1, count))
    ]
    words = [*case.words[:-1], "<unk>"]
    file = random_arpa(case.folder / "again.arpa", draw, draw.sample(case.words[:-1], 3))
    model = CompiledNgramLM(automaton_file(file, case.folder), words)
    weights = DecodingWeights(draw.uniform(0, 3), draw.uniform(-1, 1))
    how = SecondPass(case.weights, weights, draw.choice((0.0, draw.uniform(-0.3, 1))))
    return case, lattices, model, how


def expected_paths(case, lattice, model, how):
    """The new score of each path, and log p of its words."""
    found = {}
    for path in paths_of(lattice):
        key = said(lattice, path)
        old, lm = float(lattice.scores[path].sum()), float(lattice.lm[path].sum())
        again = sentence_score(model, key[0])
        new = old + (how.first_pass_weight - how.first.lm_weight) * lm
        new += (how.weights.word_score - how.first.word_score) * len(key[0])
        found[key] = new + how.weights.lm_weight * again, again
    return found


@pytest.mark.parametrize("whole", [False, True], ids=["n-gram", "histories"])
def test_each_path_has_the_score_of_its_words(tmp_path, whole):
    """Exactly the paths that there were, in lattices that go through the model together."""
    for seed in range(25):
        case, lattices, model, how = drawn(seed, tmp_path)
        if whole:
            model = Histories(model.words)
        for before, after in zip(lattices, rescored(lattices, model, how), strict=True):
            expected = expected_paths(case, before, model, how)
            acoustic = {
                said(before, path): float(before.acoustic[path].sum()) for path in paths_of(before)
            }
            found = {}
            for path in paths_of(after):
                key = said(after, path)
                assert key not in found, seed
                found[key] = float(after.scores[path].sum()), float(after.lm[path].sum())
                assert float(after.acoustic[path].sum()) == pytest.approx(acoustic[key])
            assert found.keys() == expected.keys(), seed
            for key, pair in found.items():
                assert pair == pytest.approx(expected[key], abs=1e-4), seed
            assert (np.diff(after.ends.astype(int)) >= 0).all()
            assert (after.starts < after.ends).all()


def test_the_best_texts_are_those_of_all_paths(tmp_path):
    for seed in range(100, 120):
        case, lattices, model, how = drawn(seed, tmp_path, 1)
        [lattice] = rescored(lattices, model, how)
        best: dict[tuple[str, ...], float] = {}
        for (words, _), (score, _) in expected_paths(case, lattices[0], model, how).items():
            best[words] = max(score, best.get(words, -np.inf))
        ranking = sorted(best.values(), reverse=True)
        found = lattice.best_paths(5)
        assert len(found) == min(5, len(best))
        scores = [float(lattice.scores[path].sum()) for path in found]
        assert scores == pytest.approx(ranking[: len(found)], abs=1e-4)
        texts = [said(lattice, path)[0] for path in found]
        assert len(set(texts)) == len(texts)
        assert scores == pytest.approx([best[text] for text in texts], abs=1e-4)
        assert float(lattice.scores[lattice.best_path()].sum()) == pytest.approx(scores[0])


def test_posteriors_afterwards_are_the_shares_of_all_paths(tmp_path):
    for seed in range(200, 215):
        case, lattices, model, how = drawn(seed, tmp_path, 1)
        [lattice] = rescored(lattices, model, how)
        expected = expected_paths(case, lattices[0], model, how)
        shares = {key: np.exp(0.7 * score) for key, (score, _) in expected.items()}
        arcs = np.zeros(len(lattice.scores))
        for path in paths_of(lattice):
            arcs[path] += shares[said(lattice, path)] / sum(shares.values())
        assert lattice.posteriors(0.7) == pytest.approx(arcs, abs=1e-4)


def test_bounded_histories_keep_the_best_of_those_that_end_alike(tmp_path):
    """With as many words as any path has nothing is merged; with fewer the lattice is smaller."""
    smaller = 0
    for seed in range(300, 312):
        case = Case(seed, tmp_path)
        lattice = lattice_of(case, case.emission(7))[1]
        model = Histories(case.words[:-1])
        weights = DecodingWeights(1.5, 0.2)
        exact, long, short = (
            rescored([lattice], model, SecondPass(case.weights, weights, context=context))[0]
            for context in (None, 9, 1)
        )
        assert len(long.times) == len(exact.times)
        assert np.sort(long.scores) == pytest.approx(np.sort(exact.scores))
        smaller += len(short.times) < len(exact.times)
        # The best path into a node is scored as it is, so none of what it finds is too good.
        best = short.best_path()
        score = float(short.scores[best].sum())
        words = said(short, best)[0]
        own = sum(short.lm[best])
        assert own == pytest.approx(sentence_score(model, words))
        assert score <= float(exact.scores[exact.best_path()].sum()) + 1e-6
        assert {said(short, path) for path in paths_of(short)} == {
            said(lattice, path) for path in paths_of(lattice)
        }
    assert smaller > 3


def test_the_model_is_asked_for_each_history_once(tmp_path):
    case = Case(5, tmp_path)
    lattices = [lattice_of(case, case.emission(6))[1]] * 2
    model = Histories(case.words[:-1])
    rescored(lattices, model, SecondPass(case.weights, case.weights))
    histories = {
        words[: i + 1]
        for words, _ in (said(lattices[0], path) for path in paths_of(lattices[0]))
        for i in range(len(words))
    }
    assert sum(model.asked) == len(histories)
    assert len(model.asked) == max(map(len, histories))


def test_what_cannot_be_scored(tmp_path):
    case = Case(3, tmp_path)
    [[best]] = case.compiled("state", lattice=True, lattice_beam=float(ALL))(
        np.full((1, 2, 4), -np.inf, np.float32), [2]
    )
    how = SecondPass(case.weights, case.weights)
    model = Histories(case.words[:-1])
    [after] = rescored([best.lattice], model, how)
    assert len(after.scores) == 0
    assert (after.best_paths(3), rescored([], model, how)) == ([], [])
    lattice = lattice_of(case, case.emission(6))[1]
    model.words = ["A"]
    with pytest.raises(LanguageModelError, match="no index for the word"):
        rescored([lattice], model, how)
