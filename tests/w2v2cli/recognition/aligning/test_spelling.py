"""Texts made symbols, word by word as they are written."""

import pytest

from lm.text.normalizers import Normalizer
from lm.text.phones import phone_labels
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.aligning.spelling import (
    normalized,
    read_text,
    spelled_lines,
    told_missing,
)

ENGLISH = Vocabulary.from_labels(CHARACTERS)


def written(text, vocabulary=ENGLISH):
    """Each word with its letters, word boundaries as |."""
    return [
        [(word.text, "".join(vocabulary.symbols[s] for s in word.symbols)) for word in line]
        for line in spelled_lines(text, vocabulary)
    ]


def test_words_keep_their_letters_and_numbers_are_said():
    assert written("Mr. Dubois’ café,\n\ntwenty-two 22!") == [
        [("Mr.", "MISTER"), ("Dubois’", "DUBOIS"), ("café,", "CAFE")],
        [("twenty-two", "TWENTY|TWO"), ("22!", "TWENTY|TWO")],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "it cost $5 million in 1984, not £3.",
        "Dr. Who met St. John at 10:30 p.m. on the 2nd",
        "from 10 km to 1,000 mph & back, 5% of $2.5 billion",
    ],
)
def test_a_line_is_said_as_the_normaliser_says_it_whole(line):
    words = line.split()
    said = normalized(words, Normalizer())
    assert len(said) == len(words)
    assert [part for parts in said for part in parts] == Normalizer()(line).split()


def test_words_that_are_only_read_together_become_one():
    assert written("it cost $5 million then") == [
        [
            ("it", "IT"),
            ("cost", "COST"),
            ("$5 million", "FIVE|MILLION|DOLLARS"),
            ("then", "THEN"),
        ]
    ]


def test_a_dash_is_joined_to_a_neighbour():
    assert written("— well — so") == [[("— well —", "WELL"), ("so", "SO")]]


def test_letters_that_the_model_lacks_are_told_with_examples():
    lines = spelled_lines("he said 你好 twice", ENGLISH)
    assert [word.text for word in lines[0]] == ["he", "said", "你好", "twice"]
    assert lines[0][2].symbols == () and lines[0][2].missing == "你好"
    assert told_missing(lines) == (
        "1 word has letters that the model lacks, and that are left out: 你 好 (in 你好); "
        "1 of them have none left, and get the gap where they stand."
    )
    assert told_missing(spelled_lines("all of it", ENGLISH)) is None


def test_digits_that_a_normaliser_keeps_are_told_and_the_rest_of_the_word_stays():
    small = Vocabulary.from_labels(["<pad>", "|", *"abcdé"])
    lines = spelled_lines("Bad é2 cab", small)
    assert [word.symbols for word in lines[0]] == [(3, 2, 5), (6,), (4, 2, 3)]
    assert told_missing(lines).startswith("1 word has letters that the model lacks")


def test_phones_are_words_of_one_symbol():
    phones = Vocabulary.from_labels(phone_labels(39), units="phones")
    assert written("h# ax b q xx", phones) == [
        [("h#", "sil"), ("ax", "ah"), ("b q", "b"), ("xx", "")]
    ]


@pytest.mark.parametrize("text", ["— !", "你好"])
def test_a_text_without_anything_to_say_is_refused(text):
    with pytest.raises(UserError, match="holds nothing that the model can write"):
        spelled_lines(text, ENGLISH)


def test_files_that_are_no_text_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="There is no file .*missing.txt with a text"):
        read_text(tmp_path / "missing.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text in UTF-8: is it a recording"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b" \n")
    with pytest.raises(UserError, match="a.txt holds no text"):
        read_text(tmp_path / "a.txt")
