"""Normalisers by name: how a text of any language is spelled before it is learned or compared.

`english` is `normalization.normalize_text`. `basic` serves every script: NFC, one case, no
punctuation. `none` only makes the spaces single. Each of them reports what it changes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from lm.text.normalization import (
    Changes,
    Note,
    ignored,
    lower_case,
    normalize_text,
    single_spaces,
    upper_case,
)

NormalizerName = Literal["english", "basic", "none"]
Case = Literal["upper", "lower", "keep"]
CASES: dict[NormalizerName, Case] = {"english": "upper", "basic": "lower", "none": "keep"}
# Languages with i and ı (ISO 639-1 and 639-3): İ is the capital of i, I that of ı.
DOTTED = ("tr", "tur", "az", "aze", "azj")
PASSES = 8  # of `basic` until nothing changes; two suffice for text that people write


class NormalizerError(ValueError):
    """A normaliser that does not exist, or settings of one that contradict each other."""


@dataclass(frozen=True)
class Normalizer:
    """A named way to spell texts. Raises NormalizerError for settings that do not fit."""

    name: NormalizerName = "english"
    case: Case = "upper"
    """The case of all letters; `keep` leaves it as it is."""
    language: str = ""
    """A language tag such as `tr`. Turkish and Azeri have letter cases of their own."""

    def __post_init__(self) -> None:
        if self.name not in CASES:
            raise NormalizerError(f"A normaliser is one of {', '.join(CASES)}, got {self.name!r}.")
        if self.case not in get_args(Case):
            raise NormalizerError(
                f"The case of a normaliser is one of {', '.join(get_args(Case))}, "
                f"got {self.case!r}."
            )
        if self.name == "english" and self.case != "upper":
            raise NormalizerError(
                f"The english normaliser writes capitals: case {self.case} needs basic or none."
            )

    @classmethod
    def named(
        cls, name: NormalizerName, case: Case | None = None, language: str = ""
    ) -> Normalizer:
        """Return a normaliser in its usual case (upper, lower, keep) or in another."""
        return cls(name, case or CASES.get(name, "keep"), language)

    @classmethod
    def from_metadata(cls, value: Any) -> Normalizer:
        """Return the normaliser that `metadata` stored. Raises NormalizerError."""
        if not isinstance(value, Mapping) or not {"name", "case"} <= set(value):
            raise NormalizerError(f"The normaliser of a checkpoint is damaged: {value!r}.")
        return cls(value["name"], value["case"], str(value.get("language", "")))

    @classmethod
    def from_text(cls, text: str) -> Normalizer:
        """Return the normaliser that `str` wrote. Raises NormalizerError."""
        name, *rest = text.split() or [""]
        given = next((case for case in get_args(Case) if rest[:1] == [case]), None)
        named = cast(NormalizerName, name)
        return cls.named(named, given, " ".join(rest if given is None else rest[1:]))

    @property
    def metadata(self) -> dict[str, str]:
        """Values that a checkpoint stores, for `from_metadata`."""
        return {"name": self.name, "case": self.case, "language": self.language}

    def __str__(self) -> str:
        """The name, with the case where it is not the usual one, and the language."""
        parts: list[str] = [self.name]
        if self.case != CASES[self.name]:
            parts.append(self.case)
        return " ".join([*parts, self.language] if self.language else parts)

    def __call__(self, text: str, changes: Changes | None = None) -> str:
        """Return a text as this normaliser spells it; twice is as once.

        changes: gets what is dropped or rewritten, if anything is.
        """
        plain = self._spelled(text, None)
        if changes is None or plain == text:
            return plain
        return self._spelled(text, changes)

    def _spelled(self, text: str, changes: Changes | None) -> str:
        if self.name == "english":
            return normalize_text(text, changes)
        note = ignored if changes is None else changes.note
        if self.name == "none":
            return single_spaces(self._cased(text, note), note)
        for _ in range(PASSES):
            before, text = text, self._basic(text, note)
            if text == before:
                break
        return text

    def _basic(self, text: str, note: Note) -> str:
        if text.isascii() and text.replace(" ", "").isalnum():
            return single_spaces(self._cased(text, note), note)
        text = composed(self._cased(_joined(text, note), note), note)
        return single_spaces(_without_punctuation(text, note), note)

    def _cased(self, text: str, note: Note) -> str:
        if self.case == "keep":
            return text
        if self.language.lower().split("-")[0].split("_")[0] in DOTTED:
            text = _dotted(text, self.case, note)
        return upper_case(text, note) if self.case == "upper" else lower_case(text, note)


def is_numeral(character: str) -> bool:
    """Whether a character is a digit or another number sign of any script."""
    return unicodedata.category(character)[0] == "N"


def _dotted(text: str, case: Case, note: Note) -> str:
    """Change the case of the Turkish i and ı, which the other rules get wrong."""
    changes = {"i": "İ", "ı": "I"} if case == "upper" else {"I\u0307": "i", "İ": "i", "I": "ı"}
    for old, new in changes.items():
        if old in text:
            for _ in range(text.count(old)):
                note("case", old, new)
            text = text.replace(old, new)
    return text


def composed(text: str, note: Note) -> str:
    """Return a text in NFC: a letter with its accents is one character where Unicode has one."""
    if unicodedata.is_normalized("NFC", text):
        return text
    whole = unicodedata.normalize("NFC", text)
    parts, current = [], ""
    for character in text:
        apart = not unicodedata.combining(character) and unicodedata.normalize(
            "NFC", current + character
        ) == unicodedata.normalize("NFC", current) + unicodedata.normalize("NFC", character)
        if apart:
            parts.append(current)
            current = ""
        current += character
    parts.append(current)
    if "".join(unicodedata.normalize("NFC", part) for part in parts) != whole:
        parts = [text]
    for part in parts:
        note("composition", part, unicodedata.normalize("NFC", part))
    return whole


# What a character is for `basic`: one letter each, so that a pattern reads a whole text.
_LETTER, _MARK, _NUMERAL, _JOINER, _INVISIBLE, _SPACE, _SILENT, _OTHER = "LMNJFS.P"
_APOSTROPHE = dict.fromkeys("’‘ʼ＇", "'")
_HYPHEN = dict.fromkeys("\u2010\u2011－", "-")
_JOINERS = "'-·׳״\u200c\u200d"  # kept between two letters; the last two shape Persian and Hindi
_ARMENIAN = "՚՛՜՝՞՟"  # stand inside words and are not spelled


class _Kinds(dict[int, str]):
    """The kind of each character by its number, worked out when it is first met."""

    def __missing__(self, number: int) -> str:
        kind = self[number] = _kind(chr(number))
        return kind


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if character in _JOINERS:
        return _JOINER
    if character in _ARMENIAN:
        return _SILENT
    if character.isspace():
        return _SPACE
    if category[0] in "LMN":
        return {"L": _LETTER, "M": _MARK, "N": _NUMERAL}[category[0]]
    return _INVISIBLE if category == "Cf" else _OTHER


_KINDS = _Kinds()
_CHANGED = re.compile(
    r"F+|\.+|P+"  # invisible, silent, punctuation
    r"|(?<![LNM])J+|J+(?![LN])|J{2,}"  # joiners that are not inside a word
    r"|(?<![LNM])M+"  # marks without a letter
)


def _joined(text: str, note: Note) -> str:
    """Write one apostrophe and one hyphen, and drop the invisible: bidi marks, soft hyphens."""
    if text.isascii():
        return text
    found = []
    for character in text:
        after = _APOSTROPHE.get(character) or _HYPHEN.get(character) or character
        if _KINDS[ord(character)] in (_INVISIBLE, _SILENT):
            after = ""
        if after != character:
            kind = "hyphen" if after == "-" else "apostrophe" if after else "invisible"
            note(kind, character, after)
        found.append(after)
    return "".join(found)


def _without_punctuation(text: str, note: Note) -> str:
    """Make a space of what is not a letter, mark, numeral, or a joiner inside a word."""
    kinds = text.translate(_KINDS)
    parts, done = [], 0
    for match in _CHANGED.finditer(kinds):
        start, end = match.span()
        before = text[start:end]
        # U+200C and U+200D are not seen: without them the word stays one.
        after = "" if kinds[start] in (_INVISIBLE, _SILENT) or _unseen(before) else " "
        for character in before:
            kind = {"M": "mark", "F": "invisible"}.get(kinds[start], "punctuation")
            note(kind, character, "")
        note("space", "", after)
        parts += [text[done:start], after]
        done = end
    return "".join([*parts, text[done:]])


def _unseen(text: str) -> bool:
    return not text.strip("\u200c\u200d")
