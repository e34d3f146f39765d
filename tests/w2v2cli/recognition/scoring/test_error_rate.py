import random

import pytest

from lm.text.phones import PHONES, PhoneError, fold
from w2v2cli.recognition.scoring.error_rate import (
    ErrorCounts,
    Step,
    align,
    align_phones,
    bootstrap_interval,
    total,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "rate"),
    [
        ("THE CAT SAT", "THE CAT SAT", (3, 0, 0, 0), 0.0),
        ("the cat, sat.", "THE CAT SAT", (3, 0, 0, 0), 0.0),
        ("THE CAT SAT", "THE HAT", (1, 1, 1, 0), 2 / 3),
        ("THE CAT", "", (0, 0, 2, 0), 1.0),
        ("", "", (0, 0, 0, 0), 0.0),
        ("", "THREE WORDS HEARD", (0, 0, 0, 3), 3.0),
        ("A", "A B C", (1, 0, 0, 2), 2.0),
        ("it's 2 o'clock", "IT'S TWO O'CLOCK", (3, 0, 0, 0), 0.0),
    ],
)
def test_counts(reference, hypothesis, words, rate):
    found = align(reference, hypothesis).words
    assert (found.hits, found.substitutions, found.deletions, found.insertions) == words
    assert found.rate == pytest.approx(rate)


def test_characters():
    assert align("CAT", "HAT").characters == ErrorCounts(2, 1, 0, 0)
    assert align("", "AB").characters.rate == 2.0


@pytest.mark.parametrize(
    ("reference", "hypothesis", "phones", "rate"),
    [
        (
            "h# sh iy q hv ax-h h#",
            "sil sh iy hh ah sil",
            (6, 0, 0, 0),
            0.0,
        ),  # the same after folding
        ("h# kcl k ao h#", "sil sil k aa", (4, 0, 1, 0), 0.2),
        ("h# zh eh", "sil s eh l", (2, 1, 0, 1), 2 / 3),
        ("aa", "", (0, 0, 1, 0), 1.0),
        ("q", "", (0, 0, 0, 0), 0.0),
        ("q", "aa b", (0, 0, 0, 2), 2.0),
    ],
)
def test_phones_are_compared_as_the_39(reference, hypothesis, phones, rate):
    found = align_phones(reference.split(), hypothesis.split())
    counts = found.words
    assert (counts.hits, counts.substitutions, counts.deletions, counts.insertions) == phones
    assert counts.rate == pytest.approx(rate)
    assert found.characters == ErrorCounts()


def test_steps_of_phones():
    assert align_phones("sh iy ix".split(), "sh ao ih".split()).steps() == [
        Step("equal", "sh", "sh"), Step("substitute", "iy", "aa"), Step("equal", "ih", "ih"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_phone_errors_are_the_edit_distance(seed):
    draw = random.Random(seed)
    spoken, written = ([draw.choice(PHONES) for _ in range(draw.randrange(15))] for _ in range(2))
    a, b = fold(spoken, 39), fold(written, 39)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[:], i
        for j, y in enumerate(b, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
    found = align_phones(spoken, written).words
    assert (found.errors, found.reference) == (row[-1], len(a))


def test_phones_of_other_sets():
    with pytest.raises(PhoneError, match="'a:' is none of TIMIT's 39"):
        align_phones(["a:"], [])
    assert align_phones(["a:", "zh"], ["a:", "sh"], timit=False).words == ErrorCounts(1, 1, 0, 0)


def test_the_total_rate_is_of_all_words_together():
    counts = [ErrorCounts(9, 1, 0, 0), ErrorCounts(0, 0, 1, 0)]
    assert total(counts).rate == pytest.approx(2 / 11)
    assert total([]).rate == 0.0


def test_steps_of_an_alignment():
    assert align("THE CAT SAT DOWN", "A CAT SAT").steps() == [
        Step("substitute", "THE", "A"), Step("equal", "CAT", "CAT"), Step("equal", "SAT", "SAT"),
        Step("delete", "DOWN", ""),
    ]  # fmt: skip
    assert align("", "A B").steps() == [Step("insert", "", "A"), Step("insert", "", "B")]
    assert align("", "").steps() == []


def test_the_interval_holds_the_rate_and_narrows_with_more_utterances():
    some = [ErrorCounts(8 + i % 3, i % 3, 0, 0) for i in range(30)]
    low, high = bootstrap_interval(some)
    assert low < total(some).rate < high
    more_low, more_high = bootstrap_interval(some * 20)
    assert more_high - more_low < (high - low) / 2
    assert bootstrap_interval(some) == (low, high)
    assert bootstrap_interval([]) == (0.0, 0.0)
