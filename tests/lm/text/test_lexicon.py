"""Lexicon files, good and bad."""

import gzip

import pytest

from lm.text.lexicon import Lexicon, LexiconError
from lm.text.normalizers import Normalizer
from lm.text.vocabulary import CHARACTERS, Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))


@pytest.mark.parametrize("name", ["lexicon.txt", "lexicon.txt.gz"])
def test_words_may_have_several_spellings(tmp_path, name):
    text = "AB\tA B |\nAB\tA A B |\nAB\tA B |\nBA B A\nC\tC |\n\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    lexicon = Lexicon.read(path, SMALL)
    assert lexicon.spellings == {"AB": ((2, 3, 1), (2, 2, 3, 1)), "BA": ((3, 2, 1),)}
    assert lexicon.unspellable == ("C",)
    assert len(lexicon) == 2


def test_words_without_a_file_are_spelled_by_their_characters():
    lexicon = Lexicon.from_words(["AB", "ABBA", "CAB", "A|B"], SMALL)
    assert lexicon.spellings == {"AB": ((2, 3, 1),), "ABBA": ((2, 3, 3, 2, 1),)}
    assert lexicon.unspellable == ("CAB", "A|B")


def test_phones_have_no_boundary(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("bob\tb aa b\n")
    assert Lexicon.read(path, PHONES).spellings == {"bob": ((2, 1, 2),)}


def test_files_that_are_no_lexicon(tmp_path):
    (tmp_path / "bad.txt").write_text("AB\tA B |\nword\n")
    with pytest.raises(LexiconError, match="line 2: the word 'word' has no spelling"):
        Lexicon.read(tmp_path / "bad.txt", SMALL)
    (tmp_path / "binary.txt").write_bytes(b"AB\tA B |\n\xff\xfe\x00")
    with pytest.raises(LexiconError, match=r"binary\.txt is damaged or not UTF-8 text"):
        Lexicon.read(tmp_path / "binary.txt", SMALL)
    (tmp_path / "nul.txt").write_bytes(b"AB\tA B |\nA\0B\tA B |\n")
    with pytest.raises(LexiconError, match=r"line 2: the word 'A\\x00B' has a NUL"):
        Lexicon.read(tmp_path / "nul.txt", SMALL)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"AB\tA B |\n" * 1000)[:-9])
    with pytest.raises(LexiconError, match=r"cut\.gz is damaged or not UTF-8 text"):
        Lexicon.read(tmp_path / "cut.gz", SMALL)


SMALL_LETTERS = ("<pad>", "|", *"abcçdefgğhıijklmnoöprsştuüvyz'")
TURKISH = Vocabulary.from_labels(SMALL_LETTERS, normalizer=Normalizer("basic", "lower", "tr"))


@pytest.mark.parametrize(
    ("vocabulary", "word", "written"),
    [
        (TURKISH, "IŞIK", "ışık"),
        (TURKISH, "İstanbul’da", "istanbul'da"),
        (TURKISH, "ışık", "ışık"),
        (TURKISH, "C\u0327ag\u0306rı", "çağrı"),
        (TURKISH, "quiz", None),
        (TURKISH, "hoş-geldin", None),
        (Vocabulary.from_labels(CHARACTERS), "café", "CAFE"),
        (Vocabulary.from_labels(CHARACTERS), "well-known", None),
        (Vocabulary.from_labels(tuple(c.lower() for c in CHARACTERS)), "HELLO", "hello"),
    ],
)
def test_words_of_another_spelling_are_spelled_as_transcripts_are(vocabulary, word, written):
    lexicon = Lexicon.from_words([word], vocabulary)
    if written is None:
        assert lexicon.unspellable == (word,) and lexicon.respelled == ()
        return
    end = (vocabulary.word_boundary,)
    assert lexicon.spellings == {word: (vocabulary.spell(written) + end,)}
    assert lexicon.respelled == (() if word == written else (word,))


def test_a_lexicon_without_a_word_is_refused_by_its_name(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(LexiconError, match=r"empty\.txt holds no word"):
        Lexicon.read(tmp_path / "empty.txt", SMALL)


def test_a_byte_order_mark_is_no_part_of_a_word(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffAB\tA B |\n")
    assert Lexicon.read(tmp_path / "a.txt", SMALL).spellings == {"AB": ((2, 3, 1),)}
