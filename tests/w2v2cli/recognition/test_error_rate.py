import pytest

from w2v2cli.recognition.error_rate import ErrorCounts, align, bootstrap_interval, total


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


def test_the_total_rate_is_of_all_words_together():
    counts = [ErrorCounts(9, 1, 0, 0), ErrorCounts(0, 0, 1, 0)]
    assert total(counts).rate == pytest.approx(2 / 11)
    assert total([]).rate == 0.0


def test_steps_of_an_alignment():
    assert align("THE CAT SAT DOWN", "A CAT SAT").steps() == [
        ("substitute", "THE", "A"), ("equal", "CAT SAT", "CAT SAT"), ("delete", "DOWN", ""),
    ]  # fmt: skip
    assert align("", "A").steps() == [("insert", "", "A")]
    assert align("", "").steps() == []


def test_the_interval_holds_the_rate_and_narrows_with_more_utterances():
    some = [ErrorCounts(8 + i % 3, i % 3, 0, 0) for i in range(30)]
    low, high = bootstrap_interval(some)
    assert low < total(some).rate < high
    more_low, more_high = bootstrap_interval(some * 20)
    assert more_high - more_low < (high - low) / 2
    assert bootstrap_interval(some) == (low, high)
    assert bootstrap_interval([]) == (0.0, 0.0)
