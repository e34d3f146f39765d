"""One spelling for all English text, for training language models and for computing error rates.

The result has the letters A to Z, apostrophes inside words and single spaces, as the transcripts of
LibriSpeech.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_APOSTROPHES = str.maketrans({c: "'" for c in "’‘ʼ＇`´"})
_NUMBER = re.compile(r"([£$€]?)(\d+(?:,\d{3})+|\d+)(?:\.(\d+))?(st|nd|rd|th)?\b", re.IGNORECASE)
_ELSE = re.compile(r"[^A-Z' ]+")
_STRAY = re.compile(r"(?<![A-Z])'+|'+(?![A-Z])")  # an apostrophe that is not inside a word
_TITLES = {"MR": "MISTER", "MRS": "MISSUS", "DR": "DOCTOR", "ST": "SAINT"}
_TITLE = re.compile(r"\b(MR|MRS|DR|ST)\.(?=\s)")
_SYMBOLS = {"&": " AND ", "%": " PERCENT ", "Æ": "AE", "Œ": "OE", "ß": "SS"}
_CURRENCY = {"£": " POUNDS", "$": " DOLLARS", "€": " EUROS"}

_ONES = (
    "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN "
    "FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN"
).split()
_TENS = "TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split()
_SCALES = (
    (10**12, "TRILLION"),
    (10**9, "BILLION"),
    (10**6, "MILLION"),
    (1000, "THOUSAND"),
    (100, "HUNDRED"),
)
_ORDINALS = {
    "ONE": "FIRST",
    "TWO": "SECOND",
    "THREE": "THIRD",
    "FIVE": "FIFTH",
    "EIGHT": "EIGHTH",
    "NINE": "NINTH",
    "TWELVE": "TWELFTH",
}


def normalize_text(text: str) -> str:
    """Normalise text: capitals, numbers in words, no accents and no punctuation.

    Apostrophes stay inside words. Normalised text is returned unchanged.

    >>> normalize_text("It’s Mr. Dubois' 2nd café—well-known.")
    "IT'S MISTER DUBOIS SECOND CAFE WELL KNOWN"
    """
    text = text.translate(_APOSTROPHES)
    if not text.isascii():
        for symbol in "ÆŒß":
            text = text.replace(symbol, _SYMBOLS[symbol]).replace(symbol.lower(), _SYMBOLS[symbol])
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if not unicodedata.combining(c)).translate(
            _APOSTROPHES
        )
    text = text.upper()
    for symbol in "&%":
        text = text.replace(symbol, _SYMBOLS[symbol])
    text = _TITLE.sub(lambda match: _TITLES[match[1]], text)
    if any(c.isdigit() for c in text):
        text = _NUMBER.sub(_spoken_number, text)
    text = _STRAY.sub(" ", _ELSE.sub(" ", text))
    return " ".join(text.split())


def _spoken_number(match: re.Match[str]) -> str:
    currency, whole, decimals, ordinal = match.groups()
    digits = whole.replace(",", "")
    if len(digits) > 15:  # beyond the named scales: digit by digit
        words = " ".join(_ONES[int(digit)] for digit in digits)
    else:
        words = _year(int(digits)) if _is_year(match) else cardinal(int(digits))
    if decimals:
        words += " POINT " + " ".join(_ONES[int(digit)] for digit in decimals)
    elif ordinal:
        words = _ordinal(words)
    return f" {words}{_CURRENCY.get(currency, '')} "


def _is_year(match: re.Match[str]) -> bool:
    """Whether a number is read as a year: four digits from 1100 to 1999 and nothing else."""
    currency, whole, decimals, ordinal = match.groups()
    return not (currency or decimals or ordinal) and len(whole) == 4 and 1100 <= int(whole) <= 1999


def _year(number: int) -> str:
    century, rest = divmod(number, 100)
    if rest == 0:
        return f"{cardinal(century)} HUNDRED"
    return f"{cardinal(century)} {'OH ' if rest < 10 else ''}{cardinal(rest)}"


def cardinal(number: int) -> str:
    """A whole number, 0 or more, in English words, American style (without AND)."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")
    for scale, name in _SCALES:
        if number >= scale:
            above, rest = divmod(number, scale)
            return f"{cardinal(above)} {name}" + (f" {cardinal(rest)}" if rest else "")
    raise AssertionError(number)  # every number from 100 has a scale


def _ordinal(words: str) -> str:
    head, _, last = words.rpartition(" ")
    if last not in _ORDINALS:
        last = last[:-1] + "IETH" if last.endswith("Y") else last + "TH"
    else:
        last = _ORDINALS[last]
    return f"{head} {last}".strip()


_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Messrs|Capt|Col|Gen|Hon|Rev|Lt|Sgt|No|vol|etc)|\b[A-Z])\.$"
)
_PARAGRAPH = re.compile(r"\n\s*\n")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of running text, as written.

    A blank line ends a sentence, a single line break does not; abbreviations such as Mr. do not.
    """
    for paragraph in _PARAGRAPH.split(text):
        pending = ""
        for piece in _SENTENCE_END.split(" ".join(paragraph.split())):
            pending = f"{pending} {piece}" if pending else piece
            if not _ABBREVIATION.search(pending):
                yield pending
                pending = ""
        if pending:
            yield pending
