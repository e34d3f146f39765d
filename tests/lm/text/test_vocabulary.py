"""Labels as the published models name them."""

import pytest

from lm.text.phones import phone_labels
from lm.text.vocabulary import CHARACTERS, SpellingError, Vocabulary
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


@pytest.mark.parametrize(
    ("labels", "units"),
    [
        (CHARACTERS, "characters"),
        (("-", "|", "E", "T"), "characters"),
        (("<pad>", "<unk>", "a", "b"), "characters"),
        (("[PAD]", "[UNK]", "a", " ", "sch"), "characters"),
        (("<pad>", "aa", "b"), "phones"),
        (phone_labels(39), "phones"),
        (("<pad>", "\u2581", "A", "\u2581THE"), "pieces"),
    ],
)
def test_labels_tell_their_units(labels, units):
    assert Vocabulary.from_labels(labels).units == units
    assert Vocabulary.from_metadata(labels, {}).units == units
    assert Vocabulary.from_labels(labels).metadata == {"units": units}


def test_a_checkpoint_that_names_its_units_is_believed():
    labels = ("<pad>", "a", "b", "t")  # letters or phones: who could tell
    assert Vocabulary.from_metadata(labels, {"recipe": "timit"}).text([1, 2]) == "ab"
    assert Vocabulary.from_metadata(labels, {"units": "phones"}).text([1, 2]) == "a b"


def test_transcripts_end_every_word_with_the_boundary():
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    ids = vocabulary.transcript_ids("Go, 2!")
    assert "".join(vocabulary.symbols[i] for i in ids) == "GO|TWO|"
    assert vocabulary.transcript_ids("...") == ()
    assert vocabulary.text(ids) == "GO TWO"


@pytest.mark.parametrize(
    ("size", "text"),
    [(61, "h# sh iy kcl k ix q"), (48, "sil sh iy cl k ix"), (39, "sil sh iy sil k ih")],
)
def test_transcripts_of_phones_are_folded_to_those_of_the_model(size, text):
    vocabulary = Vocabulary.from_labels(phone_labels(size))
    assert vocabulary.phone_set == size
    for transcript in ("h# sh iy kcl k ix q", "h# sh iy kcl k ix q".split()):
        assert vocabulary.text(vocabulary.transcript_ids(transcript)) == text
    with pytest.raises(SpellingError, match=f"'sch' is none of TIMIT's {size} phones"):
        vocabulary.transcript_ids("sch")


def test_phones_of_other_sets_are_taken_as_they_are():
    vocabulary = Vocabulary.from_labels(("<pad>", "a:", "b"))
    assert (vocabulary.phone_set, vocabulary.transcript_ids("b a: b")) == (None, (2, 1, 2))
    with pytest.raises(SpellingError, match="no 'h#' to spell 'h# b' with"):
        vocabulary.transcript_ids("h# b")


def test_vocabularies_that_make_no_sense():
    with pytest.raises(ValueError, match="None of the 2 labels is a blank"):
        Vocabulary.from_labels(("a", "b"))
    with pytest.raises(ValueError, match="'a' is in it twice"):
        Vocabulary.from_labels(("<pad>", "a", "a"))
    with pytest.raises(SpellingError, match="no 'É' to spell 'CAFÉ' with"):
        Vocabulary.from_labels(CHARACTERS).spell("CAFÉ")


def test_a_checkpoint_that_names_its_special_symbols_is_believed():
    labels = ("PAD", "a", "ng", "UNK", "WORD")
    metadata = {"blank": 0, "word_boundary": 4, "unknown": 3}
    vocabulary = Vocabulary.from_metadata(labels, metadata)
    assert vocabulary.units == "characters" and vocabulary.letters == {"a", "ng"}
    assert vocabulary.text([1, 2, 4, 3, 2]) == "ang ng"
    assert vocabulary.metadata == {"units": "characters", **metadata}
    without = Vocabulary.from_metadata(labels[:4], {**metadata, "word_boundary": None})
    assert without.units == "phones" and without.word_boundary is None
    for wrong in ({"blank": 5}, {"blank": "PAD"}, {"word_boundary": -1}):
        with pytest.raises(ValueError, match="must be the index of one of its 5 labels"):
            Vocabulary.from_metadata(labels, {**metadata, **wrong})


def test_metadata_names_special_symbols_only_where_their_names_do_not():
    assert Vocabulary.from_labels(CHARACTERS).metadata == {"units": "characters"}
    published = {"blank": 0, "word_boundary": 4, "unknown": 3}
    assert Vocabulary.from_metadata(CHARACTERS, published) == Vocabulary.from_labels(CHARACTERS)
