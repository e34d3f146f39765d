"""KenLM and the zero model behind the three verbs."""

import gzip
import math

import numpy as np
import pytest
from small_words import BIGRAMS

from lm.language_model import LanguageModel, LanguageModelError, ZeroLM
from lm.ngram.kenlm import NgramLM
from lm.rescoring import sentence_scores

pytest.importorskip("kenlm", reason="kenlm has no build for this Python")


@pytest.fixture(params=["lm.arpa", "lm.arpa.gz"])
def arpa(tmp_path, request):
    path = tmp_path / request.param
    path.write_bytes(gzip.compress(BIGRAMS.encode()) if path.suffix == ".gz" else BIGRAMS.encode())
    return path


def test_scores_are_those_of_the_file(arpa):
    model = NgramLM(arpa)
    assert (list(model.words), model.order) == (["A", "AB", "BA"], 2)
    scores, states = model.score(model.start(3), [0, 1, 2])
    assert scores == pytest.approx([-0.3, -0.4 - 0.9, -0.4 - 1.1])
    scores, _ = model.score(states, [2, 0, 1])
    assert scores == pytest.approx([-0.5, -0.2, -0.1 - 0.9])
    assert model.finish(states) == pytest.approx([-0.9, -0.3 - 0.7, -0.8])


def test_a_batch_is_its_rows(arpa):
    model = NgramLM(arpa)
    rng = np.random.default_rng(0)
    sentences = rng.integers(0, 3, (5, 6))
    states, total = model.start(5), np.zeros(5)
    for words in sentences.T:
        scores, states = model.score(states, words.tolist())
        total += scores
    total += model.finish(states)
    assert total == pytest.approx(
        [sentence_scores(model, [sentence.tolist()])[0] for sentence in sentences]
    )


def test_equal_states_are_equal_histories(arpa):
    model = NgramLM(arpa)
    _, (a, b) = model.score(model.start(2), [0, 2])
    _, (after_a, after_b) = model.score(
        [a, b], [1, 1]
    )  # a bigram model forgets what came before AB
    assert after_a == after_b and hash(after_a) == hash(after_b)
    assert a != b


def test_words_may_be_given_and_unknown_ones_score_as_unk(arpa):
    model = NgramLM(arpa, ["ZZ", "A"])
    assert model.score(model.start(2), [0, 1])[0] == pytest.approx([-0.4 - 1.5, -0.3])
    assert model.knows("A") and not model.knows("ZZ")


def test_the_zero_model_has_no_preference():
    model = ZeroLM(["A", "B"])
    scores, states = model.score(model.start(2), [0, 1])
    assert scores.tolist() == [0, 0] and states[0] == states[1]
    assert model.finish(states).tolist() == [0, 0]


def test_both_are_language_models(arpa):
    models: list[LanguageModel] = [NgramLM(arpa), ZeroLM(["A", "AB", "BA"])]
    assert [sentence_scores(model, [[0, 2]])[0] for model in models] == pytest.approx(
        [-0.3 - 0.5 - 0.8, 0]
    )
    assert [model.log_base for model in models] == [10, math.e]


def test_files_that_are_no_language_model(tmp_path):
    with pytest.raises(LanguageModelError, match="There is no language model at"):
        NgramLM(tmp_path / "gone.arpa")
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(
        LanguageModelError, match="text cannot be read as an ARPA or KenLM file"
    ) as refused:
        NgramLM(tmp_path / "text", ["A"])
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
    (tmp_path / "cut.arpa").write_text(BIGRAMS[:150])
    with pytest.raises(
        LanguageModelError, match=r"cut\.arpa promises 5 2-grams, but line 4 of them is"
    ):
        NgramLM(tmp_path / "cut.arpa")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\tA BA", "\tA XY", "Word XY was not seen in the unigrams .* at byte [0-9]+[.]"),
        ("</s>", "<t>", "The ARPA file is missing </s> .* reject these models[.]"),
    ],
)
def test_the_reasons_of_kenlm_are_sentences(old, new, reason, tmp_path):
    assert old in BIGRAMS
    (tmp_path / "a.arpa").write_text(BIGRAMS.replace(old, new))
    refusal = f"a[.]arpa cannot be read as an ARPA or KenLM file: {reason}$"
    with pytest.raises(LanguageModelError, match=refusal):
        NgramLM(tmp_path / "a.arpa")
