"""Automata kept as arrays: the same scores as when read anew, whatever becomes of the files."""

import itertools

import numpy as np
import pytest
import torch

from lm.language_model import LanguageModelError
from lm.ngram.arpa import ArpaError
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import NgramTensors, from_compiled, kept_automaton
from lm.ngram.automaton import automaton_file

WORDS = ["the", "cat", "on", "never-heard"]


def scores(automaton) -> list[float]:
    """Of every sentence of up to three words, and that equal states stay equal."""
    model, found = NgramTensors(automaton, WORDS, torch.device("cpu")), []
    for sentence in itertools.chain.from_iterable(
        itertools.product(range(4), repeat=n) for n in range(4)
    ):
        state, total = model.start(1), 0.0
        for word in sentence:
            score, state = model.score(state, torch.tensor([word]))
            total += score.item()
        found.append(total + model.finish(state).item())
    return found


def zeroed(path) -> bytes:
    """A file whose second half is zeros."""
    content = path.read_bytes()
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def test_the_compiled_readers_file_is_the_same_model(arpa, tmp_path):
    assert scores(from_compiled(automaton_file(arpa, tmp_path))) == pytest.approx(
        scores(read_automaton(arpa)), abs=1e-6
    )


def test_it_is_mapped_the_second_time_and_made_again_when_damaged(arpa, tmp_path):
    expected = scores(read_automaton(arpa))
    cache = tmp_path / "cache"
    first, told = kept_automaton(arpa, cache)
    assert told == [] and scores(first) == pytest.approx(expected, abs=1e-6)
    second, _ = kept_automaton(arpa, cache)
    kept = scores(second)
    assert isinstance(second.keys, np.memmap) and kept == scores(first)
    [folder] = cache.glob("*.arrays")
    for name, damage in (
        ("keys.npy", b""),
        ("scores.npy", b"nothing"),
        ("words.txt", b""),
        ("backoff.npy", None),
        ("sha256.txt", None),
        ("keys.npy", zeroed(folder / "keys.npy")),
        ("targets.npy", zeroed(folder / "targets.npy")),
        ("words.txt", zeroed(folder / "words.txt")),
    ):
        (folder / name).unlink()  # the old one stays mapped
        if damage is not None:
            (folder / name).write_bytes(damage)
        assert scores(kept_automaton(arpa, cache)[0]) == kept
    assert not list(cache.glob("*.part"))


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
