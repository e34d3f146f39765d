"""Hot words that the language model lacks: no engine scores them below the floor."""

import math

import numpy as np
import pytest
import torch
from random_searches import ALL, words_of
from small_words import SMALL, enumerated, random_emission

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis, Word
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import FixedNgramTensors
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.rescoring import WithFloor, lm_scores
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import ArpaFile, CompiledSearch
from lm.search.flashlight import FlashlightSearch
from lm.search.hotwords import bonus_of
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon

WORDS = ["A", "AB", "BA", "BB"]  # the model lacks BB, and has a log10 of -1.5 for unknown words
HOT = {"BB": 0.5, "A BB": 1.0, "AB": -0.2}
FLOOR = -0.2
WEIGHTS = DecodingWeights(1.1, -0.3)


class Raised:
    """A model whose score of one word does not fall below the floor."""

    log_base = 10.0

    def __init__(self, model, word: int) -> None:
        self.model, self.words, self.word = model, model.words, word

    def start(self, count=1):
        return self.model.start(count)

    def score(self, states, words):
        scores, after = self.model.score(states, words)
        return np.where(np.array(words) == self.word, np.maximum(scores, FLOOR), scores), after

    def finish(self, states):
        return self.model.finish(states)


class Natural:
    """A model in natural logarithms, as a Transformer."""

    log_base = math.e

    def __init__(self, model) -> None:
        self.model, self.words = model, model.words
        self.start = model.start

    def score(self, states, words):
        scores, after = self.model.score(states, words)
        return scores * math.log(10), after

    def finish(self, states):
        return self.model.finish(states) * math.log(10)


class Opened:
    """A model as `prepare` opens it; BB is the word that it lacks."""

    path = None

    def open(self, words):
        return []

    def knows(self, words):
        return [word not in ("BB", "<unk>") for word in words]


@pytest.fixture
def engine(arpa, tmp_path):
    """A function that makes an engine by its name; none drops anything."""

    def made(name: str, floor: float):
        lexicon = Lexicon.from_words(WORDS[:3], SMALL)
        way = "state" if "state" in name else "history"
        options = BeamOptions(ALL, None, float(ALL), 3 if way == "history" else 1, way)
        if name == "flashlight":
            pytest.importorskip("flashlight")
            return FlashlightSearch.open(SMALL, WEIGHTS, options, lexicon, arpa, HOT, floor)
        if name.startswith("compiled"):
            return CompiledSearch.open(
                SMALL, WEIGHTS, options, lexicon, arpa, tmp_path, HOT, floor=floor
            )
        setup = prepare(SMALL, lexicon, ArpaFile(arpa, tmp_path), HOT, floor=floor)
        model = FixedNgramTensors(read_automaton(arpa), setup.words, torch.device("cpu"))
        return BatchedSearch(setup, model, WEIGHTS, options)

    return made


NAMES = ["compiled by state", "compiled", "batched by state", "batched", "flashlight"]


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_raises_the_word_that_the_model_lacks(name, engine, arpa, tmp_path):
    model = CompiledNgramLM(automaton_file(arpa, tmp_path), [*WORDS, "<unk>"])
    search, plain, changed = engine(name, FLOOR), engine(name, -math.inf), 0
    for seed in range(6):
        emission = random_emission(7, seed)
        scores = enumerated(emission, WEIGHTS, {w: [w] for w in WORDS}, Raised(model, 3))
        scores = {words: score + bonus_of(words, HOT) for words, score in scores.items()}
        found = search(emission[None], [7])[0]
        best = sorted(scores.values(), reverse=True)[: len(found)]
        np.testing.assert_allclose([one.score for one in found], best, atol=1e-3)
        for one in found:
            assert scores[words_of(one)] == pytest.approx(one.score, abs=1e-3)
        changed += plain(emission[None], [7])[0][0].score < found[0].score - 1e-3
    assert changed


def test_the_words_of_fewest_errors_are_scored_with_the_floor(arpa, tmp_path):
    model = CompiledNgramLM(automaton_file(arpa, tmp_path), [*WORDS, "<unk>"])
    options = BeamOptions(ALL, None, float(ALL), mbr=True, mbr_scale=0.3, lattice_beam=float(ALL))
    lexicon, changed = Lexicon.from_words(WORDS[:3], SMALL), 0
    search = CompiledSearch.open(SMALL, WEIGHTS, options, lexicon, arpa, tmp_path, HOT, floor=FLOOR)
    for seed in range(12):
        emission = random_emission(6, seed)
        scores = enumerated(emission, WEIGHTS, {w: [w] for w in WORDS}, Raised(model, 3))
        best = search(emission[None], [6])[0][0]
        expected = scores[words_of(best)] + bonus_of(words_of(best), HOT)
        assert best.score == pytest.approx(expected, abs=1e-4)
        changed += "BB" in words_of(best)
    assert changed


def test_the_floor_is_a_power_of_ten_for_a_model_in_natural_logarithms(arpa, tmp_path):
    model = CompiledNgramLM(automaton_file(arpa, tmp_path), [*WORDS, "<unk>"])
    lexicon = Lexicon.from_words(WORDS[:3], SMALL)
    options = BeamOptions(ALL, None, float(ALL))
    setup = prepare(SMALL, lexicon, Opened(), HOT, floor=FLOOR)
    natural = DecodingWeights(WEIGHTS.lm_weight / math.log(10), WEIGHTS.word_score)
    ours = BatchedSearch(setup, Natural(model), natural, options)
    tens = BatchedSearch(setup, model, WEIGHTS, options)
    for seed in range(4):
        emission = random_emission(7, seed)[None]
        found, expected = ours(emission, [7])[0][0], tens(emission, [7])[0][0]
        assert words_of(found) == words_of(expected)
        assert found.score == pytest.approx(expected.score, abs=1e-4)


def test_the_second_pass_has_the_floor_too(arpa, tmp_path):
    model = CompiledNgramLM(automaton_file(arpa, tmp_path), ["A", "AB", "BA", "<unk>"])
    texts = ["A BB", "A CC", "A"]
    nbest = [
        Hypothesis(tuple(Word(word, 0, 1, 1.0) for word in text.split()), (), (), 0.0, 0.0, 0.0)
        for text in texts
    ]
    for one in (model, Natural(model)):
        factor = math.log(one.log_base) / math.log(10)
        plain = [score * factor for score in lm_scores([nbest], one)[0]]
        found = [score * factor for score in lm_scores([nbest], WithFloor(one, HOT, FLOOR))[0]]
        assert plain[0] == plain[1]
        assert found[1:] == plain[1:]
        unknown = float(model.score(model.score(model.start(), [0])[1], [3])[0][0])
        assert found[0] == pytest.approx(plain[0] - unknown + FLOOR)
