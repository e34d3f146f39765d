"""n-best lists scored again, against sentences scored one by one."""

import numpy as np
import pytest

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis, Word
from lm.language_model import LanguageModelError
from lm.rescoring import lm_scores, ranked, sentence_scores


class Bigrams:
    """A state is the last word; log p from a table. It counts what it is asked."""

    log_base = np.e

    def __init__(self, words):
        self.words = words
        self.table = np.random.default_rng(0).normal(-3, 1, (len(words) + 1, len(words) + 1))
        self.asked = []

    def start(self, count=1):
        return [len(self.words)] * count

    def score(self, states, words):
        self.asked.append(len(states))
        return self.table[list(states), list(words)], list(words)

    def finish(self, states):
        return self.table[list(states), -1]


def hypothesis(text: str, acoustic: float, lm_score: float = 0.0) -> Hypothesis:
    words = tuple(Word(word, 0, 1, 1.0) for word in text.split())
    return Hypothesis(words, (), (), acoustic, lm_score, acoustic)


def sentence_score(model, words) -> float:
    """log p of one sentence, word by word."""
    states, total = model.start(), 0.0
    for word in words:
        scores, states = model.score(states, [word])
        total += float(scores[0])
    return total + float(model.finish(states)[0])


def one(nbest, model, *args, **options) -> list[Hypothesis]:
    return ranked(nbest, lm_scores([nbest], model)[0], *args, **options)


def test_sentences_together_score_as_they_do_alone():
    model = Bigrams(["a", "b", "c"])
    sentences = [(0, 1, 2), (0, 1), (), (2, 2, 2, 2), (0, 1, 0)]
    assert sentence_scores(model, sentences) == pytest.approx(
        [sentence_score(model, s) for s in sentences]
    )
    assert sentence_scores(model, []) == []


def test_shared_beginnings_are_asked_for_once():
    model = Bigrams(["a", "b", "c"])
    lm_scores(
        [[hypothesis("a b a", 0), hypothesis("a b b", 0)], [hypothesis("a b a", 0)]],
        model,
    )
    assert model.asked == [1, 1, 2]


def test_scores_are_their_formula_and_order_their_consequence():
    model = Bigrams(["a", "b", "<unk>"])
    weights = DecodingWeights(lm_weight=0.8, word_score=-0.5)
    nbest = [hypothesis("a", -3.0, -1.0), hypothesis("b z", -2.0, -2.0), hypothesis("", -9.0, -4.0)]
    found = one(nbest, model, weights, first_pass_weight=0.3)
    expected = {
        "a": -3.0 + 0.8 * sentence_score(model, [0]) - 0.5 + 0.3 * -1.0,
        "b z": -2.0 + 0.8 * sentence_score(model, [1, 2]) - 1.0 + 0.3 * -2.0,
        "": -9.0 + 0.8 * sentence_score(model, []) + 0.3 * -4.0,
    }
    assert {h.text: h.score for h in found} == pytest.approx(expected)
    assert [h.text for h in found] == sorted(expected, key=lambda text: -expected[text])
    assert found[0].lm_score != nbest[0].lm_score and one([], model, weights) == []


def test_a_word_without_an_index_is_told():
    with pytest.raises(LanguageModelError, match="no index for the word 'z', and none for <unk>"):
        one([hypothesis("z", 0)], Bigrams(["a"]), DecodingWeights())
