"""One spelling for all English text, for training language models and for computing error rates.

The result has the letters A to Z, apostrophes inside words and single spaces, as the transcripts of
LibriSpeech. `normalizers` has those of other languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_APOSTROPHES = str.maketrans({c: "'" for c in "’‘ʼ＇`´"})
_UNITS = {
    "KM": "KILOMETER", "CM": "CENTIMETER", "MM": "MILLIMETER", "KG": "KILOGRAM",
    "MG": "MILLIGRAM", "ML": "MILLILITER", "LB": "POUND", "LBS": "POUND", "OZ": "OUNCE",
    "KB": "KILOBYTE", "MB": "MEGABYTE", "GB": "GIGABYTE", "TB": "TERABYTE", "KW": "KILOWATT",
    "SEC": "SECOND", "SECS": "SECOND", "MIN": "MINUTE", "MINS": "MINUTE", "HR": "HOUR",
    "HRS": "HOUR",
}  # fmt: skip
_ALONE = {  # units whose plural is not made by an S
    "HZ": ("HERTZ", "HERTZ"), "KHZ": ("KILOHERTZ", "KILOHERTZ"),
    "MHZ": ("MEGAHERTZ", "MEGAHERTZ"), "GHZ": ("GIGAHERTZ", "GIGAHERTZ"),
    "FT": ("FOOT", "FEET"), "MPH": ("MILE PER HOUR", "MILES PER HOUR"),
    "KMH": ("KILOMETER PER HOUR", "KILOMETERS PER HOUR"), "AM": ("A M", "A M"),
    "PM": ("P M", "P M"),
}  # fmt: skip
_SIZES = {"K": "THOUSAND", "M": "MILLION", "B": "BILLION", "T": "TRILLION"}
_DIGITS = r"(\d+(?:,\d{3})+(?!\d)|\d+)(?:\.(\d+))?"
_NUMBER = re.compile(
    rf"([£$€]?){_DIGITS}(?:(ST|ND|RD|TH|'?S|{'|'.join([*_UNITS, *_ALONE])})(?![A-Z\d]))?"
)
_SUM = re.compile(  # £5m, $2.5 billion
    rf"([£$€]){_DIGITS}(?:(K|MN?|BN?|TN?)| (THOUSAND|MILLION|BILLION|TRILLION))(?![A-Z\d'])"
)
_TIME = re.compile(
    r"(?<![\d:.])([01]?\d|2[0-3]):([0-5]\d)(?!\.?\d|:)(?:\s?([AP])\.?M(?![A-Z\d])\.?)?"
)
_ELSE = re.compile(r"[^A-Z' ]+")
_STRAY = re.compile(r"(?<![A-Z])'+|'+(?![A-Z])")  # an apostrophe that is not inside a word
_TITLES = {"MR": "MISTER", "MRS": "MISSUS", "DR": "DOCTOR", "ST": "SAINT"}
_TITLE = re.compile(r"\b(MR|MRS|DR|ST)\.(?=\s)")
_SYMBOLS = {"&": " AND ", "%": " PERCENT "}
_LIGATURES = {
    "Æ": "AE", "æ": "AE", "Œ": "OE", "œ": "OE", "ß": "SS", "ẞ": "SS", "Ł": "L", "ł": "L",
    "Ø": "O", "ø": "O", "Đ": "D", "đ": "D", "Ð": "D", "ð": "D", "Þ": "TH", "þ": "TH",
    "Ħ": "H", "ħ": "H", "Ŧ": "T", "ŧ": "T", "Ŋ": "NG", "ŋ": "NG", "ı": "I",
}  # fmt: skip
_SIGNS = re.compile("[&%]")
_LIGATURE = re.compile(f"[{''.join(_LIGATURES)}]")
_GAP = re.compile(r"\s+")
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


def normalize_text(text: str, changes: Changes | None = None) -> str:
    """Normalise text: capitals, numbers in words, no accents and no punctuation.

    Apostrophes stay inside words. Normalised text is returned unchanged.

    changes: gets what is dropped or rewritten; counting it takes several times as long.

    >>> normalize_text("It’s Mr. Dubois' 2nd café—well-known.")
    "IT'S MISTER DUBOIS SECOND CAFE WELL KNOWN"
    """
    note = ignored if changes is None else changes.note
    text = _by_character("apostrophe", text, text.translate(_APOSTROPHES), note)
    if not text.isascii():
        text = _unaccented(text, note)
    text = upper_case(text, note)
    text = _replaced("symbol", _SIGNS, lambda match: _SYMBOLS[match[0]], text, note)
    text = _replaced("title", _TITLE, lambda match: _TITLES[match[1]], text, note)
    if any(c.isdigit() for c in text):
        text = _replaced("number", _TIME, _spoken_time, text, note)
        text = _replaced("number", _SUM, _spoken_sum, text, note)
        text = _replaced("number", _NUMBER, _spoken_number, text, note)
    text = _replaced("character", _ELSE, lambda match: " ", text, note)
    text = _replaced("apostrophe", _STRAY, lambda match: " ", text, note)
    return single_spaces(text, note)


@dataclass
class Changes:
    """What a normaliser dropped or rewrote, counted."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Number of changes by kind, characters before and characters after.

    Of the characters of the text, those of all "before" are gone and those of all "after" are new.
    The kinds are case, space, apostrophe, accent, composition, symbol, title, number, character,
    hyphen, punctuation, invisible and mark.
    """

    def note(self, kind: str, before: str, after: str, count: int = 1) -> None:
        """Count a change, unless it changes nothing."""
        if before != after:
            self.counts[kind, before, after] += count

    def __bool__(self) -> bool:
        return bool(self.counts)


Note = Callable[[str, str, str], None]
"""Called with the kind of a change and the characters before and after it."""


def ignored(kind: str, before: str, after: str) -> None:
    """Do nothing about a change."""


def _unaccented(text: str, note: Note) -> str:
    """Fold ligatures and what Unicode decomposes; drop the accents."""
    text = _replaced("accent", _LIGATURE, lambda match: _LIGATURES[match[0]], text, note)
    if note is ignored:
        decomposed = unicodedata.normalize("NFKD", text)
        return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(
            _APOSTROPHES
        )
    bare = []
    for character in text:
        if not character.isascii():
            found = unicodedata.normalize("NFKD", character)
            found = "".join(c for c in found if not unicodedata.combining(c))
            found = found.translate(_APOSTROPHES)
            note("accent", character, found)
            character = found
        bare.append(character)
    return "".join(bare)


def _replaced(
    kind: str,
    pattern: re.Pattern[str],
    replacement: Callable[[re.Match[str]], str],
    text: str,
    note: Note,
) -> str:
    if note is ignored:
        return pattern.sub(replacement, text)

    def noted(match: re.Match[str]) -> str:
        after = replacement(match)
        note(kind, match[0], after)
        return after

    return pattern.sub(noted, text)


def _by_character(kind: str, before: str, after: str, note: Note) -> str:
    """Note the characters that differ in two texts of one length; return the second."""
    if note is not ignored and before != after:
        for old, new in zip(before, after, strict=True):
            note(kind, old, new)
    return after


def upper_case(text: str, note: Note = ignored) -> str:
    """Return a text in capitals; `note` is called with each character that changes."""
    return _in_case(text, text.upper(), str.upper, note)


def lower_case(text: str, note: Note = ignored) -> str:
    """Return a text in small letters; `note` is called with each character that changes."""
    return _in_case(text, text.lower(), str.lower, note)


def _in_case(text: str, changed: str, change: Callable[[str], str], note: Note) -> str:
    if note is not ignored and text != changed:
        at = 0
        for character in text:
            # Whole text counts: a sigma that ends a word differs, and is as long as the other.
            length = len(change(character))
            note("case", character, changed[at : at + length])
            at += length
    return changed


def single_spaces(text: str, note: Note = ignored) -> str:
    """Return the words of a text with single spaces between them."""
    joined = " ".join(text.split())
    if note is not ignored and joined != text:
        outer = text.strip()
        lead = text.index(outer) if outer else len(text)
        note("space", text[:lead], "")
        note("space", text[lead + len(outer) :], "")
        for gap in _GAP.findall(outer):
            note("space", gap, " ")
    return joined


def _spoken_number(match: re.Match[str]) -> str:
    """A number in words, with what is written on to it: ordinals, plurals, clear units."""
    currency, whole, decimals, ending = match.groups()
    words = _year(int(whole)) if _is_year(match) else _spoken_digits(whole, decimals)
    one = whole == "1" and not decimals
    if ending in ("ST", "ND", "RD", "TH"):
        words = _ordinal(words) if not decimals else f"{words} {ending}"
    elif ending == "S" or (ending == "'S" and whole.endswith("0")):  # the 1990s, the 1990's
        words = _plural(words)
    elif ending == "'S":
        words += ending
    elif ending in _ALONE:
        words += f" {_ALONE[ending][not one]}"
    elif ending:
        words += f" {_UNITS[ending]}{'' if one else 'S'}"
    return f" {words}{_CURRENCY.get(currency, '')} "


def _spoken_digits(whole: str, decimals: str | None) -> str:
    digits = whole.replace(",", "")
    if len(digits) > 15:  # beyond the named scales: digit by digit
        words = " ".join(_ONES[int(digit)] for digit in digits)
    else:
        words = cardinal(int(digits))
    if decimals:
        words += " POINT " + " ".join(_ONES[int(digit)] for digit in decimals)
    return words


def _spoken_sum(match: re.Match[str]) -> str:
    currency, whole, decimals, letter, size = match.groups()
    scale = size or _SIZES[letter[0]]
    return f" {_spoken_digits(whole, decimals)} {scale}{_CURRENCY[currency]} "


def _spoken_time(match: re.Match[str]) -> str:
    """10:30 as TEN THIRTY, 10:05 as TEN OH FIVE, 10:00 as TEN O'CLOCK; then A M or P M."""
    hour, minute, half = match.groups()
    words = cardinal(int(hour))
    if int(minute):
        words += f"{' OH' if int(minute) < 10 else ''} {cardinal(int(minute))}"
    elif half is None:
        words += " O'CLOCK"
    return f" {words}{f' {half} M' if half else ''} "


def _plural(words: str) -> str:
    if words.endswith("Y"):
        return f"{words[:-1]}IES"
    return f"{words}{'ES' if words.endswith('X') else 'S'}"


def _is_year(match: re.Match[str]) -> bool:
    """Whether a number is read as a year: four digits from 1100 to 1999 and no unit or the like.

    Decades are years to 2099: the TWENTY TENS.
    """
    currency, whole, decimals, ending = match.groups()
    if currency or decimals or len(whole) != 4 or ending not in (None, "S", "'S"):
        return False
    return 1100 <= int(whole) <= 1999 or (bool(ending) and 2010 <= int(whole) <= 2099)


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


_CLOSING, _OPENING = "\"'”’»)\\]」』）", "\"'“‘«(\\[「『（¿¡"
ENDS = ".!?…؟۔।॥։።"  # marks that end a sentence where a space and no small letter follow
FULL_ENDS = "。！？｡"  # marks that end a sentence whatever follows
_SENTENCE_END = re.compile(
    rf"(?<=[{ENDS}])[{_CLOSING}]*\s+(?=[{_OPENING}]*(\w))|(?<=[{FULL_ENDS}])[{_CLOSING}]*\s*(?=\S)"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Messrs|Capt|Col|Gen|Hon|Rev|Lt|Sgt|No|vol|etc)|\b[^\W\d_a-z])\.$"
)
_PARAGRAPH = re.compile(r"\n\s*\n")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of running text of any script, as written.

    A blank line ends a sentence, a single line break does not; abbreviations such as Mr. and
    initials do not, nor a full stop before a small letter.
    """
    for paragraph in _PARAGRAPH.split(text):
        whole = " ".join(paragraph.split())
        done = 0
        for end in _SENTENCE_END.finditer(whole):
            sentence = whole[done : end.start()]
            if not (end[1] or "").islower() and not _ABBREVIATION.search(sentence):
                yield sentence
                done = end.end()
        if done < len(whole):
            yield whole[done:]
