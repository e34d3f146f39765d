"""Labels as the published models name them."""

import pytest

from lm.vocabulary import CHARACTERS, SpellingError, Vocabulary
from models.importers.labels import STANDARD


@pytest.mark.parametrize(
    ("labels", "blank", "boundary"),
    [
        (CHARACTERS, 0, 4),
        (("-", "|", "E", "T"), 0, 1),
        (("a", "b", "|", "[UNK]", "[PAD]"), 4, 2),
        (("<blank>", "aa", "ae"), 0, None),
        (("a", "b", " ", ""), 3, 2),
    ],
)
def test_special_symbols_are_found_by_their_names(labels, blank, boundary):
    vocabulary = Vocabulary.from_labels(labels)
    assert (vocabulary.blank, vocabulary.word_boundary) == (blank, boundary)


def test_the_alphabet_of_the_published_models():
    assert CHARACTERS == STANDARD  # stated twice because `lm` and `models` do not know each other
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    assert vocabulary.letters == frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
    assert vocabulary.unknown == 3


def test_a_checkpoint_may_say_which_symbol_is_the_blank():
    assert Vocabulary.from_labels(("<s>", "<pad>", "|", "A"), blank=0).blank == 0


def test_a_hyphen_is_a_letter_where_something_else_is_the_blank():
    assert "-" in Vocabulary.from_labels(("<pad>", "|", "A", "-")).letters


def test_words_are_spelled_and_read():
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    ids = vocabulary.spell("DON'T")
    assert [CHARACTERS[i] for i in ids] == list("DON'T")
    assert vocabulary.text([4, *ids, 4, 4, 2, *vocabulary.spell("GO"), 0]) == "DON'T GO"
    assert vocabulary.can_spell(["A", "B"]) and not vocabulary.can_spell(["A", "b"])


def test_vocabularies_that_make_no_sense():
    with pytest.raises(ValueError, match="None of the 2 labels is a blank"):
        Vocabulary.from_labels(("a", "b"))
    with pytest.raises(ValueError, match="'a' stands in it twice"):
        Vocabulary.from_labels(("<pad>", "a", "a"))
    with pytest.raises(SpellingError, match="no 'É' to spell 'CAFÉ' with"):
        Vocabulary.from_labels(CHARACTERS).spell("CAFÉ")
