"""Automata in the cache's file, looked up in tensors: as the compiled library, from one file."""

import itertools
import random

import numpy as np
import pytest
import torch
from damage import mutated

from lm.language_model import LanguageModelError
from lm.native.library import is_built
from lm.ngram import automaton as compiled
from lm.ngram.arpa import ArpaError, read_unigrams
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import FixedNgramTensors, NgramTensors, hashed_keys, kept_automaton
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.ngram.checksum import is_whole
from lm.ngram.layout import hashed, map_automaton, write_automaton

WORDS = ["the", "cat", "on", "never-heard"]
CPU = torch.device("cpu")


def scores(automaton) -> list[float]:
    """Of every sentence of up to three words."""
    model, found = NgramTensors(automaton, WORDS, CPU), []
    for sentence in itertools.chain.from_iterable(
        itertools.product(range(4), repeat=n) for n in range(4)
    ):
        state, total = model.start(1), 0.0
        for word in sentence:
            score, state = model.score(state, torch.tensor([word]))
            total += score.item()
        found.append(total + model.finish(state).item())
    return found


def same_walk(arpa, path) -> None:
    """The library and the tensors give equal bits and equal states, from one file."""
    words = [*read_unigrams(arpa), "never-heard"]
    library, automaton = CompiledNgramLM(path, words), map_automaton(path)
    for tensors in (NgramTensors(automaton, words, CPU), FixedNgramTensors(automaton, words, CPU)):
        draw = np.random.default_rng(0)
        states, before = library.start(200), tensors.start(200)
        assert states == before.tolist()
        for _ in range(6):
            chosen = draw.integers(0, len(words), 200)
            found, states = library.score(states, chosen.tolist())
            other, before = tensors.score(before, torch.from_numpy(chosen))
            assert found.tolist() == other.tolist() and states == before.tolist()
        assert library.finish(states).tolist() == tensors.finish(before).tolist()


def test_the_search_on_a_device_reads_the_compiled_searchs_file(arpa, tmp_path):
    same_walk(arpa, automaton_file(arpa, tmp_path))


@pytest.mark.parametrize("name", ["order4-prune-0-0-1-1", "order2-prune-0-2"])
def test_so_it_is_with_models_of_lmplz(shared_data, tmp_path, name):
    arpa = shared_data / "lmplz" / f"{name}.arpa.gz"
    same_walk(arpa, automaton_file(arpa, tmp_path))


@pytest.mark.skipif(not is_built(), reason="compares with the compiled library")
def test_without_the_library_the_file_is_the_same_model(arpa, tmp_path, monkeypatch):
    made = automaton_file(arpa, tmp_path / "compiled")
    monkeypatch.setattr(compiled, "is_built", lambda: False)
    written = automaton_file(arpa, tmp_path / "python")
    assert is_whole(written)
    same_walk(arpa, written)
    expected = scores(map_automaton(made))
    assert scores(map_automaton(written)) == pytest.approx(expected, abs=1e-6)
    assert scores(read_automaton(arpa)) == scores(map_automaton(written))


def test_a_model_without_unk_says_so_in_both_readers(arpa, tmp_path):
    lines = [line for line in arpa.read_text().splitlines() if "<unk>" not in line]
    count = sum("\t" in line for line in lines[: lines.index("\\2-grams:")])
    lines[1] = f"ngram 1={count}"
    known = tmp_path / "known.arpa"
    known.write_text("\n".join(lines) + "\n")
    write_automaton(read_automaton(known), tmp_path / "python")
    models = [
        map_automaton(path) for path in (tmp_path / "python", automaton_file(known, tmp_path))
    ]
    assert [model.has_unknown for model in models] == [False, False]
    assert scores(models[0]) == pytest.approx(scores(models[1]), abs=1e-4)
    assert map_automaton(automaton_file(arpa, tmp_path)).has_unknown


def test_the_hash_of_a_device_is_that_of_the_file():
    draw = np.random.default_rng(0)
    states, words = draw.integers(0, 1 << 31, (2, 1000))
    theirs = hashed(states, words).view(np.int64)
    assert (
        hashed_keys(torch.from_numpy(states), torch.from_numpy(words)).tolist() == theirs.tolist()
    )


def test_it_is_mapped_the_second_time_and_made_again_when_damaged(arpa, tmp_path):
    cache, draw = tmp_path / "cache", random.Random(0)
    first, told = kept_automaton(arpa, cache)
    expected = scores(first)
    assert told == [] and isinstance(first.arcs, np.memmap)
    [path] = cache.glob("*.automaton")
    whole = path.read_bytes()
    for damage in (b"", whole[:-1], whole[: len(whole) // 2], *(mutated(whole, draw),) * 20):
        path.unlink()  # the old one stays mapped
        path.write_bytes(damage)
        assert scores(kept_automaton(arpa, cache)[0]) == expected
        assert path.read_bytes() == whole
    assert [kept.name for kept in cache.iterdir()] == [path.name]


def test_damage_that_no_checksum_shows_ends_in_a_sentence_or_scores(arpa, tmp_path):
    whole, draw = automaton_file(arpa, tmp_path).read_bytes(), random.Random(0)
    opened, refused = 0, 0
    for number in range(100):
        path = tmp_path / str(number)
        path.write_bytes(mutated(whole, draw))
        try:
            model = NgramTensors(map_automaton(path), WORDS, CPU)
        except LanguageModelError:
            refused += 1
            continue
        _, states = model.score(model.start(4), torch.arange(4))
        model.score(states, torch.arange(4))
        opened += 1
    assert opened > 20 and refused > 20


def test_a_folder_that_cannot_be_written_costs_no_search(arpa, tmp_path):
    (tmp_path / "file").write_text("")
    found, told = kept_automaton(arpa, tmp_path / "file" / "cache")
    assert scores(found) == pytest.approx(scores(read_automaton(arpa)), abs=1e-6)
    assert told == [f"{arpa} cannot be cached (Not a directory): it is read again each time."]


def test_no_model_is_told(arpa, tmp_path):
    with pytest.raises(LanguageModelError, match="There is no language model at"):
        kept_automaton(tmp_path / "gone.arpa", tmp_path / "cache")
    arpa.write_text(arpa.read_text().replace("\\end\\", ""))
    with pytest.raises(ArpaError, match="cut short"):
        kept_automaton(arpa, tmp_path / "cache")


def test_a_file_of_another_kind_is_no_automaton(tmp_path):
    path = tmp_path / "other"
    for content in (b"", b"w2v2lm02", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(LanguageModelError, match="cannot be used: it is (cut short|damaged)"):
            map_automaton(path)


def test_a_damaged_order_does_not_make_look_ups_endless(arpa, tmp_path):
    content = bytearray(automaton_file(arpa, tmp_path).read_bytes())
    content[12] = 1  # the order's higher bits: 2**32 steps
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(LanguageModelError, match="it is damaged"):
        map_automaton(tmp_path / "damaged")
