"""The language model in a model's folder: its files, and its weights in our units."""

import json
import math
import shutil

import pytest

from lm.decoding import DecodingWeights
from lm.language_model import LanguageModelError
from lm.ngram.carried import is_whole, read_carried, read_words
from lm.ngram.kenlm import NgramLM

ATTRIBUTES = {"alpha": 0.7, "beta": 1.2, "unk_score_offset": -8.0, "score_boundary": True}


@pytest.fixture
def carried(arpa, tmp_path):
    folder = tmp_path / "language_model"
    folder.mkdir()
    shutil.copy(arpa, folder / "3gram.arpa")
    (folder / "attrs.json").write_text(json.dumps(ATTRIBUTES))
    (folder / "unigrams.txt").write_text("cat\nsat\nthe\n")
    return folder


def ours(folder, words):
    """What our search adds to the acoustic score of a sentence."""
    found, listed = read_carried(folder), set(read_words(folder / "unigrams.txt"))
    model = NgramLM(found.path)
    states, log10 = model.start(), 0.0
    for word in words:
        scores, states = model.score(states, [model.words.index(word)])
        log10 += float(scores[0])
    log10 += float(model.finish(states)[0])
    weights = found.weights
    counted = sum(weights.word_score if w in listed else weights.unk_score for w in words)
    return weights.lm_weight * log10 + counted


def test_files_and_weights(carried):
    found = read_carried(carried)
    assert (found.path.name, found.unigrams) == ("3gram.arpa", carried / "unigrams.txt")
    assert found.weights == DecodingWeights(0.7 * math.log(10), 1.2, 1.2 - 8 * 0.7 * math.log(10))
    assert is_whole(carried) and found.score_boundary
    (carried / "unigrams.txt").write_text("")  # pyctcdecode's way to say that none are listed
    (carried / ".cache").write_text("hidden files do not count")
    (carried / "README.md").write_text("nor do texts")
    assert read_carried(carried).unigrams is None
    (carried / "attrs.json").write_text("{}")
    assert read_carried(carried).alpha == 0.5
    (carried / "unigrams.txt").unlink()
    assert not is_whole(carried)


def test_scores_are_those_of_pyctcdecode(carried):
    """Sentences with words that the list has, and one that the model alone knows."""
    pyctcdecode = pytest.importorskip("pyctcdecode.language_model")
    theirs = pyctcdecode.LanguageModel.load_from_dir(str(carried))
    for sentence in ("the cat sat", "sat the the", "the dog sat", "dog"):
        state, total, words = theirs.get_start_state(), 0.0, sentence.split()
        for i, word in enumerate(words):
            score, state = theirs.score(state, word, is_last_word=i == len(words) - 1)
            total += score
        assert total == pytest.approx(ours(carried, words), abs=1e-5)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("attrs.json", "[", "is not JSON"),
        ("attrs.json", "[]", "is not a JSON object"),
        ("attrs.json", '{"alpha": "much"}', "sets alpha to 'much', which is not a number"),
        ("attrs.json", '{"beta": true}', "sets beta to True"),
        ("second.bin", "", "needs one n-gram model beside attrs.json .* 3gram.arpa, second.bin"),
    ],
)
def test_damaged_files(carried, file, content, message):
    (carried / file).write_text(content)
    with pytest.raises(LanguageModelError, match=message):
        read_carried(carried)


def test_a_folder_without_a_model(carried):
    (carried / "3gram.arpa").unlink()
    assert not is_whole(carried)
    with pytest.raises(LanguageModelError, match="found none"):
        read_carried(carried)
    (carried / "unigrams.txt").write_bytes(b"\xff\n")
    with pytest.raises(LanguageModelError, match="is not UTF-8"):
        read_words(carried / "unigrams.txt")


def test_a_weight_that_cannot_be(carried):
    (carried / "attrs.json").write_text('{"alpha": -1}')
    with pytest.raises(ValueError, match="--lm-weight must be 0 or more"):
        _ = read_carried(carried).weights
