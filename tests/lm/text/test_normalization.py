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
    ("the 1990s, the 1990's, '90s, 2010s, 2000s and 1900s",
     "THE NINETEEN NINETIES THE NINETEEN NINETIES NINETIES TWENTY TENS TWO THOUSANDS AND "
     "NINETEEN HUNDREDS"),
    ("1995's 6s", "NINETEEN NINETY FIVE'S SIXES"),
    ("10:30am, 10:05 p.m., 9:00 or 9:00am; 7pm",
     "TEN THIRTY A M TEN OH FIVE P M NINE O'CLOCK OR NINE A M SEVEN P M"),
    ("5km, 1 km, 1km, 1,500kg at 60mph", "FIVE KILOMETERS ONE KM ONE KILOMETER "
     "ONE THOUSAND FIVE HUNDRED KILOGRAMS AT SIXTY MILES PER HOUR"),
    ("£5m, $2.5bn, €3k and $4 million", "FIVE MILLION POUNDS TWO POINT FIVE BILLION DOLLARS "
     "THREE THOUSAND EUROS AND FOUR MILLION DOLLARS"),
    ("Łódź, Søren, Đilas, Þór, İzmir, ı", "LODZ SOREN DILAS THOR IZMIR I"),
    ("3D, 4x4, MP3, B2B, 5m, 1,2345", "THREE D FOUR X FOUR MP THREE B TWO B FIVE M "
     "ONE TWO THOUSAND THREE HUNDRED FORTY FIVE"),
    ("1500m in 3:31.5 at 12:34:56", "FIFTEEN HUNDRED M IN THREE THIRTY ONE POINT FIVE "
     "AT TWELVE THIRTY FOUR FIFTY SIX"),
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
