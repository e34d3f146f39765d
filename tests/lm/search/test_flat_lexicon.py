"""A lexicon kept in a file is the lexicon, whatever becomes of the file."""

from dataclasses import replace

import numpy as np
import pytest

from lm.decoding import BeamOptions, DecodingWeights
from lm.search.compiled import CompiledSearch
from lm.search.flat_lexicon import FlatLexicon, kept_lexicon
from lm.text.lexicon import Lexicon
from lm.text.normalizers import Normalizer
from lm.text.vocabulary import Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
LINES = "A\tA |\nAB\tA B |\nAB\tB B |\nÉTÉ\tE T E |\n<unk>\tA A |\nBA\tB A |\n"


@pytest.fixture
def lexicon(tmp_path):
    (tmp_path / "lexicon.txt").write_text(LINES)
    return Lexicon.read(tmp_path / "lexicon.txt", SMALL)


def same(a: FlatLexicon, b: FlatLexicon) -> bool:
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("symbols", "ends", "owners")
    )
    return arrays and (a.words, a.unspellable) == (b.words, b.unspellable)


def test_the_arrays_are_the_lexicon(lexicon):
    flat = FlatLexicon.of(lexicon)
    assert flat.words == ["A", "AB", "BA"] and flat.unspellable == ("ÉTÉ",)
    rows = np.split(flat.symbols, flat.ends[:-1].astype(int))
    assert [row.tolist() for row in rows] == [[2, 1], [2, 3, 1], [3, 3, 1], [3, 2, 1]]
    assert flat.owners.tolist() == [0, 1, 1, 2]


def test_it_is_made_once_and_again_when_the_file_is_damaged(lexicon, tmp_path):
    made = []

    def make():
        made.append(1)
        return lexicon

    first, _ = kept_lexicon("hash", SMALL, tmp_path / "kept", make)
    again, told = kept_lexicon("hash", SMALL, tmp_path / "kept", make)
    assert same(first, again) and told == [] and len(made) == 1
    [file] = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-30], whole[:50], b"", b"no such thing"):
        file.write_bytes(damaged)
        assert same(kept_lexicon("hash", SMALL, tmp_path / "kept", make)[0], first)
        assert file.read_bytes() == whole
    assert len(made) == 5
    kept_lexicon("other", SMALL, tmp_path / "kept", make)
    kept_lexicon("hash", Vocabulary.from_labels(("<pad>", "|", "B", "A")), tmp_path / "kept", make)
    assert len(made) == 7


SYMBOLS = ("<pad>", "|", "A", "B", "SCH", "?", "[UNK]")
PLAIN = Vocabulary.from_labels(SYMBOLS)
OTHERS = {
    "unknown symbol": replace(PLAIN, unknown=5),
    "no unknown symbol": replace(PLAIN, unknown=None),
    "word boundary": replace(PLAIN, word_boundary=5),
    "blank": replace(PLAIN, blank=5),
    "normaliser": replace(PLAIN, normalizer=Normalizer("basic", "lower")),
    "symbols": Vocabulary.from_labels((*SYMBOLS[:4], "CH", *SYMBOLS[5:])),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
def test_every_vocabulary_keeps_its_own_spellings(tmp_path, other):
    """What a kept file has is what would be made: no vocabulary finds another one's spellings."""
    words = ["A?B", "ASCHB", "a", "AB"]

    def kept(vocabulary):
        made = Lexicon.from_words(words, vocabulary)
        found, _ = kept_lexicon("hash", vocabulary, tmp_path, lambda: made)
        assert same(found, FlatLexicon.of(made)) and found.respelled == made.respelled
        return found

    first = kept(PLAIN)
    assert first.respelled == ("a",)
    kept(other)
    assert same(kept(PLAIN), first) and len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_no_search(lexicon, tmp_path):
    (tmp_path / "file").write_text("")
    flat, told = kept_lexicon("hash", SMALL, tmp_path / "file" / "kept", lambda: lexicon)
    assert same(flat, FlatLexicon.of(lexicon))
    assert told == [
        f"The lexicon cannot be kept in {tmp_path / 'file' / 'kept'} (Not a directory): "
        "it is spelled anew each time."
    ]


def test_a_search_takes_it_as_it_takes_a_lexicon(lexicon):
    emission = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 20)).astype(np.float32)
    found = [
        CompiledSearch.open(
            SMALL, DecodingWeights(), BeamOptions(50, nbest=5), some, hotwords={"BB": 1.0}
        )(emission[None], [20])
        for some in (lexicon, FlatLexicon.of(lexicon))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(("place", "value"), [(8, 1), (10, 99)], ids=["encrypted", "compression"])
def test_damage_that_looks_like_another_kind_of_archive_is_damage(lexicon, tmp_path, place, value):
    path = tmp_path / "kept.lexicon"
    FlatLexicon.of(lexicon).write(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value  # of the archive's directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        FlatLexicon.read(path)
