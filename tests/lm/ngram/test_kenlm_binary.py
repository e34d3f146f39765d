"""KenLM's binary files read by us: scores and states are KenLM's own, to the last bit."""

import random

import numpy as np
import pytest
import torch
from damage import mutated
from kenlm_files import PACKED, WORDS, write_models

from lm.language_model import LanguageModelError
from lm.native.library import is_built
from lm.ngram import automaton as compiled
from lm.ngram import kenlm_binary
from lm.ngram.arpa import ArpaError
from lm.ngram.arrays import NgramTensors, kept_automaton
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.ngram.kenlm import listed_words, lists_words
from lm.ngram.kenlm_binary import arpa_text, read_header
from lm.ngram.room import room_for

QUANTISED = ("full.quantised", "full.both", "holes.quantised")
SEARCHED = [*WORDS, "never-heard"]
pytestmark = pytest.mark.skipif(not is_built(), reason="probing files need the compiled library")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kenlm")
    write_models(folder)
    return folder


def walk(model, seed=0):
    """Scores of words and ends after 400 random histories, and the states that were reached."""
    draw, scores, states = np.random.default_rng(seed), [], model.start(400)
    for _ in range(7):
        scores.append(model.finish(states))
        found, states = model.score(states, draw.integers(0, len(SEARCHED), 400).tolist())
        scores.append(found)
    return np.concatenate(scores), states


@pytest.mark.parametrize("name", PACKED)
def test_scores_and_states_are_kenlms(models, tmp_path, name):
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    from lm.ngram.kenlm import NgramLM

    ours = CompiledNgramLM(automaton_file(models / name, tmp_path), SEARCHED)
    (scores, states), (expected, theirs) = walk(ours), walk(NgramLM(models / name, SEARCHED))
    assert scores.tolist() == expected.tolist()
    pairs = set(zip(states, theirs, strict=True))
    assert len(pairs) == len(set(states)) == len(set(theirs))


@pytest.mark.parametrize("name", [name for name in PACKED if name not in QUANTISED])
def test_what_is_not_quantised_is_the_arpa_file_it_was_built_from(models, tmp_path, name):
    arpa = models / f"{name.partition('.')[0]}.arpa"
    binary, plain = (
        CompiledNgramLM(automaton_file(path, tmp_path), SEARCHED) for path in (models / name, arpa)
    )
    assert walk(binary)[0] == pytest.approx(walk(plain)[0], abs=1e-5)
    assert binary.has_unknown == plain.has_unknown
    assert sorted(listed_words(models / name)) == sorted(WORDS)


@pytest.mark.parametrize("name", [name for name in PACKED if "probing" not in name])
def test_a_trie_needs_no_compiled_library(models, tmp_path, monkeypatch, name):
    expected = CompiledNgramLM(automaton_file(models / name, tmp_path / "a"), SEARCHED)
    monkeypatch.setattr(compiled, "is_built", lambda: False)
    monkeypatch.setattr(kenlm_binary, "is_built", lambda: False)
    automaton, _ = kept_automaton(models / name, tmp_path / "b")
    model, total = NgramTensors(automaton, SEARCHED, torch.device("cpu")), []
    state = model.start(len(SEARCHED))
    for shift in range(4):
        found, state = model.score(state, (torch.arange(len(SEARCHED)) + shift) % len(SEARCHED))
        total.append(found)
    states = expected.start(len(SEARCHED))
    for shift, found in enumerate(total):
        words = [(i + shift) % len(SEARCHED) for i in range(len(SEARCHED))]
        scores, states = expected.score(states, words)
        assert found.tolist() == pytest.approx(scores.tolist(), abs=1e-6)
    with pytest.raises(LanguageModelError, match=r"which the compiled library reads.*build_binary"):
        list(arpa_text(models / "full.probing"))


def test_its_header_says_what_it_is(models, tmp_path):
    header = read_header(models / "full.both")
    assert (header.order, header.kind, header.has_words) == (4, 5, True)
    room = room_for(models / "full.trie", tmp_path)
    assert room.disk == pytest.approx(
        automaton_file(models / "full.trie", tmp_path).stat().st_size, rel=0.1
    )
    assert lists_words(models / "full.trie") and not lists_words(models / "full.arpa")
    assert not lists_words(models / "gone")


def test_a_file_without_its_words_says_what_to_do(models, tmp_path):
    content = bytearray((models / "full.trie").read_bytes())
    content[100] = 0  # whether the words are at the end
    (tmp_path / "wordless").write_bytes(content)
    with pytest.raises(LanguageModelError, match=r"without its words: build it anew without -v"):
        automaton_file(tmp_path / "wordless", tmp_path / "cache")


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_file_ends_in_a_sentence_or_a_model(models, tmp_path, name):
    whole, draw, refused = (models / name).read_bytes(), random.Random(name), 0
    for number in range(60):
        path = tmp_path / str(number)
        path.write_bytes(mutated(whole, draw))
        try:
            walk(CompiledNgramLM(automaton_file(path, tmp_path / "cache"), SEARCHED))
        except (LanguageModelError, ArpaError) as error:
            assert str(path) in str(error) and str(error).endswith(".") and "\n" not in str(error)
            refused += 1
    assert refused > 20
