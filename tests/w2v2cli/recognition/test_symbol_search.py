"""A language model of characters or pieces searches with them, or is refused in a sentence."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa import write_arpa
from lm.ngram.kenlm import NgramLM
from lm.ngram.kneser_ney import count_ngrams, estimate
from lm.search.setup import SearchError
from lm.transformer.checkpoint import TransformerCheckpoint, network_weights, save_transformer
from lm.transformer.config import tiny
from lm.transformer.dictionary import SPECIALS, Dictionary
from lm.transformer.network import TransformerNetwork
from w2v2cli.data.locations import LmLocation, ModelLocation, resolve_lm
from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.searching.build import build_batched, build_search

LABELS = ("<pad>", "|", "A", "B")
FRAMES = 6


@pytest.fixture
def characters(tmp_path):
    """An ARPA file over the characters of texts, with the boundary between words."""
    texts = ["A B | B A", "A A | A B", "B A | B", "A B | A B"] * 3
    model = estimate(count_ngrams([text.split() for text in texts], 2), [0, 0])
    write_arpa(model, tmp_path / "chars.arpa")
    return tmp_path / "chars.arpa"


def options_for(path, **given):
    model = ModelLocation("mine", path.parent, None)
    lm = LmLocation(str(path), path, None, symbols=True)
    weights = DecodingWeights(1.2, 0.0)
    return RecognitionOptions(model, lm, weights, BeamOptions(5000, None, 1e6), **given)


def best_of_all(emission, path, weight):
    """The best score of all paths, each symbol scored by the language model."""
    model = NgramLM(path, list(LABELS[1:]))
    best = -np.inf, ""
    for symbols in itertools.product(range(len(LABELS)), repeat=FRAMES):
        if symbols[0] == 1:
            continue  # a boundary on the first frame continues the silence before
        runs = [symbol for symbol, _ in itertools.groupby(symbols) if symbol]
        [state], score = model.start(), sum(emission[t, s] for t, s in enumerate(symbols))
        for symbol in runs:
            [step], [state] = model.score([state], [symbol - 1])
            score += weight * step
        score += weight * model.finish([state])[0]
        best = max(best, (score, "".join(LABELS[symbol] for symbol in runs)))
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("search", ["auto", "flashlight"])
def test_characters_are_searched_with_characters(characters, tmp_path, seed, search):
    """They were taken for words, each followed by a boundary: `A | B |` for `AB`."""
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    emission = np.random.default_rng(seed).normal(size=(FRAMES, len(LABELS))) * 2
    emission[0, 1] = -30
    emission -= np.logaddexp.reduce(emission, axis=1, keepdims=True)
    spec = replace(options_for(characters, search=search).search_spec(LABELS), cache=tmp_path)
    assert spec.engine == "flashlight"
    [[found, *_]] = build_search(spec, pytest.fail)(emission[None].astype(np.float32), [FRAMES])
    score, text = best_of_all(emission, characters, 1.2)
    assert found.score == pytest.approx(score, abs=1e-3)
    assert found.text == " ".join(text.replace("|", " ").split())


@pytest.mark.parametrize("search", ["compiled", "batched", "greedy"])
def test_other_engines_refuse_it(characters, search):
    with pytest.raises(
        UsageError, match="is a language model of the model's symbols, not of words"
    ):
        _ = options_for(characters, search=search).engine


def test_hot_words_and_a_second_pass_need_words(characters, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--hotwords favours words: give a --lexicon"):
        _ = options_for(characters, hotwords={"AB": 2.0}).engine
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    letters = " ".join("ETAONIHSRDLUMWCFGYPBVKXJQZ")
    model = estimate(count_ngrams([letters.split()] * 4, 2), [0, 0])
    write_arpa(model, tmp_path / "letters.arpa")
    asked = DecodingOptions(lm="4gram", rescore=str(tmp_path / "letters.arpa"))
    with pytest.raises(UsageError, match="--rescore scores words, and .*letters.arpa is a lang"):
        resolve(asked)
    found = resolve(DecodingOptions(lm=str(tmp_path / "letters.arpa")))
    assert found.lm.symbols and found.engine == "flashlight"


def test_a_transformer_of_characters_is_refused(tmp_path):
    dictionary = Dictionary((*SPECIALS, *LABELS[1:]))
    network = TransformerNetwork(tiny(len(dictionary))).initialize()
    path = tmp_path / "chars.safetensors"
    save_transformer(
        path, TransformerCheckpoint(network.config, dictionary, network_weights(network))
    )
    options = replace(
        options_for(path), lm=resolve_lm(str(path), ModelLocation("mine", tmp_path, None))
    )
    spec = replace(options.search_spec(LABELS), cache=tmp_path)
    with pytest.raises(SearchError, match="only an ARPA file of symbols can be searched with"):
        build_batched(spec, torch.device("cpu"), pytest.fail)
