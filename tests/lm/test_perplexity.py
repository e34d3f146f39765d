"""Perplexity of both kinds of model, against sums done by hand."""

import math

import pytest
import torch
from small_words import TWO_WORDS

from lm.language_model import LanguageModelError
from lm.ngram.kenlm import NgramLM
from lm.perplexity import Perplexity, perplexity, score_text
from lm.transformer.config import tiny
from lm.transformer.dictionary import END, SPECIALS, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork

SENTENCES = [["A", "B"], ["A", "XX"], ["B"]]


def test_of_an_ngram_model(tmp_path):
    pytest.importorskip("kenlm")
    path = tmp_path / "lm.arpa"
    path.write_text(TWO_WORDS)
    model = NgramLM(path, ["A", "B", "XX"])
    logs = [[-0.3, -0.5, -0.3 - 0.7], [-0.3, -0.2 - 1.5, -0.7], [-0.4 - 0.9, -0.3 - 0.7]]
    one_by_one = list(score_text(model, SENTENCES))
    assert [one.log_prob / math.log(10) for one in one_by_one] == pytest.approx(
        [sum(row) for row in logs]
    )
    assert [(one.words, one.unknown) for one in one_by_one] == [(2, 0), (2, 1), (1, 0)]
    total = perplexity(model, SENTENCES)
    everything = sum(map(sum, logs))
    assert total.including == pytest.approx(10 ** (-everything / 8))  # 5 words and 3 ends
    assert total.excluding == pytest.approx(10 ** (-(everything + 1.7) / 7))


def test_of_a_transformer():
    torch.manual_seed(0)
    network = TransformerNetwork(tiny(6)).initialize()
    model = TransformerLM(
        network, Dictionary((*SPECIALS, "A", "B")), ["A", "B", "XX"], cache_gb=1.0
    )
    expected, of_unknown = 0.0, 0.0
    for sentence in SENTENCES:
        tokens = [END, *({"A": 4, "B": 5, "XX": 3}[word] for word in sentence), END]
        with torch.no_grad():
            logs = network.softmax.log_probs(network(torch.tensor([tokens[:-1]]))[0]).double()
        expected += sum(float(logs[place, token]) for place, token in enumerate(tokens[1:]))
        of_unknown += sum(
            float(logs[place, 3]) for place, token in enumerate(tokens[1:]) if token == 3
        )
    total = perplexity(model, SENTENCES)
    assert (total.sentences, total.words, total.unknown) == (3, 5, 1)
    assert total.including == pytest.approx(math.exp(-expected / 8), rel=1e-4)
    assert total.excluding == pytest.approx(math.exp(-(expected - of_unknown) / 7), rel=1e-4)


def test_of_nothing_and_of_words_it_was_not_told_of():
    assert math.isnan(Perplexity().including)
    torch.manual_seed(0)
    model = TransformerLM(
        TransformerNetwork(tiny(5)).initialize(), Dictionary((*SPECIALS, "A")), cache_gb=1.0
    )
    assert perplexity(model, []) == Perplexity()
    with pytest.raises(LanguageModelError, match="The word 'B' is not among the words"):
        perplexity(model, [["A", "B"]])
    assert perplexity(model, [[]]).words == 0
