import pytest

from lm.text.normalization import cardinal, normalize_text, sentences

CASES = [
    ("Printing, then, for our purpose", "PRINTING THEN FOR OUR PURPOSE"),
    ("It’s the boys' o’clock—well-known", "IT'S THE BOYS O'CLOCK WELL KNOWN"),
    ("'tis “quoted” ‘so’", "TIS QUOTED SO"),
    ("café, naïve Œuvre Ærial", "CAFE NAIVE OEUVRE AERIAL"),
    ("in 1845, 1906 and 1800", "IN EIGHTEEN FORTY FIVE NINETEEN OH SIX AND EIGHTEEN HUNDRED"),
    ("1,234 men; the 21st; £20; 3.14; 50%",
     "ONE THOUSAND TWO HUNDRED THIRTY FOUR MEN THE TWENTY FIRST TWENTY POUNDS "
     "THREE POINT ONE FOUR FIFTY PERCENT"),
    ("Mr. Smith & Dr. Jones of St. Ives", "MISTER SMITH AND DOCTOR JONES OF SAINT IVES"),
    ("", ""), ("...", ""), ("A\tB\n C", "A B C"), ("STUFF IT INTO YOU", "STUFF IT INTO YOU"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_normalised(text, expected):
    assert normalize_text(text) == expected


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_normalising_twice_changes_nothing(text, expected):
    assert normalize_text(normalize_text(text)) == expected


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "ZERO"),
        (19, "NINETEEN"),
        (40, "FORTY"),
        (101, "ONE HUNDRED ONE"),
        (2_000_013, "TWO MILLION THIRTEEN"),
    ],
)
def test_cardinals(number, words):
    assert cardinal(number) == words


def test_sentences_of_running_text():
    text = 'He came. "What?" she said. Mr. Smith, J. K. Jones and I\nwent home!\n\nA new one'
    assert list(sentences(text)) == [
        "He came.",
        '"What?" she said.',
        "Mr. Smith, J. K. Jones and I went home!",
        "A new one",
    ]
