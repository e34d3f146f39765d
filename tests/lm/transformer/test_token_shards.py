"""Text as shards of word numbers: built once, resumed, read in blocks that ranks share."""

import gzip
import json
import re
from collections import Counter

import numpy as np
import pytest

from lm.language_model import LanguageModelError
from lm.text.normalization import normalize_text, sentences
from lm.text.normalizers import Normalizer
from lm.text.reading import AS_IT_IS, Reading
from lm.text.sentences import TextError, read_sentences
from lm.transformer import token_shards
from lm.transformer.dictionary import END, PAD, SPECIALS, UNKNOWN, Dictionary
from lm.transformer.token_shards import (
    TokenShards,
    block_order,
    build_shards,
    count_words,
    sentence_blocks,
    token_batches,
)

DICTIONARY = Dictionary((*SPECIALS, "THE", "DOG", "BARKS", "CAT"))
TEXT = "THE DOG BARKS\nTHE BIRD\n\nCAT CAT\nTHE CAT BARKS\n"
NUMBERS = [4, 5, 6, END, 4, UNKNOWN, END, 7, 7, END, 4, 7, 6, END]
RUNNING = Reading(Normalizer(), lines=False)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def numbers(shards):
    return shards.read(0, shards.tokens).tolist()


@pytest.mark.parametrize("shard", [1, 5, 1000])
def test_sentences_are_their_words_and_an_end(tmp_path, text, shard):
    shards = build_shards([text], DICTIONARY, tmp_path / "cache", AS_IT_IS, shard=shard)
    assert numbers(shards) == NUMBERS
    assert (shards.tokens, shards.sentences, shards.unknown) == (14, 4, 1)
    for start in range(-1, 15):
        for end in range(max(start, 0), 15):
            assert shards.read(start, end).tolist() == [END, *NUMBERS][start + 1 : end + 1]


def test_several_texts_are_one_stream(tmp_path, text):
    other = tmp_path / "other.txt.gz"
    other.write_bytes(gzip.compress(b"DOG\n"))
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    shards = build_shards([text, empty, other], DICTIONARY, tmp_path / "cache", AS_IT_IS)
    assert numbers(shards) == [*NUMBERS, 5, END]


def test_a_text_is_built_once_whatever_it_is_called(tmp_path, text, monkeypatch):
    cache = tmp_path / "cache"
    first = numbers(build_shards([text], DICTIONARY, cache, AS_IT_IS))
    moved = text.rename(tmp_path / "moved.txt")
    monkeypatch.setattr(
        token_shards, "read_sentences", lambda *args, **options: pytest.fail("read again")
    )
    assert numbers(build_shards([moved], DICTIONARY, cache, AS_IT_IS)) == first


def test_another_text_dictionary_or_spelling_is_another_cache(tmp_path, text):
    cache = tmp_path / "cache"
    build_shards([text], DICTIONARY, cache, AS_IT_IS)
    text.write_text("THE DOG\n")
    assert numbers(build_shards([text], DICTIONARY, cache, AS_IT_IS)) == [4, 5, END]
    larger = Dictionary((*DICTIONARY.symbols, "BIRD"))
    text.write_text(TEXT)
    assert 8 in numbers(build_shards([text], larger, cache, AS_IT_IS))
    text.write_text("The dog barks. The cat\nbarks!")
    assert numbers(build_shards([text], DICTIONARY, cache, RUNNING)) == [
        4,
        5,
        6,
        END,
        4,
        7,
        6,
        END,
    ]


def test_an_interrupted_build_goes_on(tmp_path, text, monkeypatch):
    cache, written = tmp_path / "cache", []
    real = token_shards.write_whole

    def killed(path, content):
        if path.suffix == ".i32" and len(written) == 2:
            raise KeyboardInterrupt
        if path.suffix == ".i32":
            written.append(path.name)
        real(path, content)

    monkeypatch.setattr(token_shards, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        build_shards([text], DICTIONARY, cache, AS_IT_IS, shard=1)
    monkeypatch.setattr(token_shards, "write_whole", real)
    told = []
    shards = build_shards([text], DICTIONARY, cache, AS_IT_IS, shard=1, on_progress=told.append)
    assert (numbers(shards), shards.sentences, shards.unknown) == (NUMBERS, 4, 1)
    assert told == ["text.txt: continuing after sentence 2."]
    assert not list(cache.rglob("*.part"))


def rows(shards, blocks):
    return [
        shards.read(start - 1, end).tolist()
        for start, end in zip(blocks.starts, blocks.ends, strict=True)
    ]


@pytest.mark.parametrize("shard", [1, 6, 1000])
@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 100])
def test_blocks_of_sentences_predict_each_word_once(tmp_path, text, shard, size):
    shards = build_shards([text], DICTIONARY, tmp_path / "cache", AS_IT_IS, shard=shard)
    found = rows(shards, sentence_blocks(shards, size))
    assert [word for row in found for word in row[1:]] == NUMBERS
    assert all(1 < len(row) <= size + 1 for row in found)
    if size >= 4:  # no sentence is longer
        assert all(row[0] == row[-1] == END for row in found)
    if (shard, size) == (1000, 7):
        assert [len(row) - 1 for row in found] == [7, 7]
    with pytest.raises(TextError, match="no words to make blocks of"):
        sentence_blocks(TokenShards([]), 5)


def test_an_epoch_is_a_function_of_its_numbers_and_ranks_are_disjoint():
    orders = [block_order(103, seed=3, epoch=1, rank=rank, world=4) for rank in range(4)]
    assert [len(order) for order in orders] == [25] * 4
    assert len(set(np.concatenate(orders).tolist())) == 100
    assert block_order(103, 3, 1, 2, 4).tolist() == orders[2].tolist()
    whole = [block_order(103, seed, epoch).tolist() for seed, epoch in ((3, 1), (3, 2), (4, 1))]
    assert len({tuple(order) for order in whole}) == 3
    assert all(sorted(order) == list(range(103)) for order in whole)


def test_batches_go_on_where_they_stopped(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("THE DOG BARKS CAT\n" * 50)
    shards = build_shards([path], DICTIONARY, tmp_path / "cache", AS_IT_IS, shard=30)
    options = {"seed": 1, "epoch": 2, "rank": 1, "world": 2}
    for size, shapes in (
        (7, [(4, 8)] * 6 + [(1, 8)]),  # a sentence each
        (12, [(4, 13)] * 3),  # two sentences each, of 30 numbers a file
    ):
        blocks = sentence_blocks(shards, size)
        batches = list(token_batches(shards, blocks, 4, **options))
        assert [batch.shape for batch in batches] == shapes
        assert batches[0].dtype == np.int64
        later = list(token_batches(shards, blocks, 4, skip=2, **options))
        assert [batch.tolist() for batch in later] == [batch.tolist() for batch in batches[2:]]
    assert batches[0][0].tolist() == [END, *[4, 5, 6, 7, END] * 2, PAD, PAD]


def test_vocabulary_from_counts(tmp_path, text):
    told = []
    counts = count_words([text, text], tmp_path / "cache", AS_IT_IS, on_progress=told.append)
    assert counts == Counter(THE=6, CAT=6, BARKS=4, DOG=2, BIRD=2)
    assert told == ["Counting the words of text.txt."]
    assert Dictionary.from_counts(counts).words == ("CAT", "THE", "BARKS", "BIRD", "DOG")
    assert Dictionary.from_counts(counts, size=6).words == ("CAT", "THE")
    with pytest.raises(LanguageModelError, match="vocabulary must be more than 4, got 4"):
        Dictionary.from_counts(counts, size=4)
    with pytest.raises(LanguageModelError, match="no words to make a vocabulary of"):
        Dictionary.from_counts(Counter())
    with pytest.raises(LanguageModelError, match="A dictionary begins with <s> <pad> </s> <unk>"):
        Dictionary(["A", "B"])


def test_running_text_is_split_as_a_whole_would_be(tmp_path):
    path = tmp_path / "novel.txt"
    text = "It was late. Mr. Holmes\nslept\n\n \nChapter 2\n\nWho? Said I."
    path.write_text(text)
    found = list(read_sentences(path, RUNNING))
    assert found == [normalize_text(sentence).split() for sentence in sentences(text)]
    assert found[1:3] == [["MISTER", "HOLMES", "SLEPT"], ["CHAPTER", "TWO"]]


def test_texts_that_cannot_be_read(tmp_path):
    broken = tmp_path / "broken.txt.gz"
    broken.write_bytes(gzip.compress(b"THE DOG\n" * 999)[:30])
    with pytest.raises(TextError, match=re.escape(f"{broken} is not a complete UTF-8 text")):
        build_shards([broken], DICTIONARY, tmp_path / "cache", AS_IT_IS)
    latin = tmp_path / "latin.txt"
    latin.write_bytes("CAFÉ\n".encode("latin-1"))
    with pytest.raises(TextError, match=re.escape(f"{latin} is not a complete UTF-8 text")):
        count_words([latin], tmp_path / "cache", AS_IT_IS)
    with pytest.raises(TextError, match="nowhere.txt cannot be read: No such file"):
        build_shards([tmp_path / "nowhere.txt"], DICTIONARY, tmp_path / "cache", AS_IT_IS)


def test_numbers_are_mapped_and_not_held(tmp_path, text):
    shards = build_shards([text], DICTIONARY, tmp_path / "cache", AS_IT_IS)
    assert all(isinstance(part, np.memmap) for part in shards._maps)
    (progress,) = (tmp_path / "cache").rglob("progress.json")
    assert json.loads(progress.read_text())["complete"] is True
    assert TokenShards([]).tokens == 0
