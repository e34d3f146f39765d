"""The output symbols of an acoustic model, and the spelling of transcripts in them.

There are three kinds of units. Characters have a symbol that ends each word. Phones have no words.
The first of the word pieces of a word begins with a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

from lm.text.normalizers import Normalizer
from lm.text.phones import PhoneError, PhoneSet, fold, phone_set
from lm.text.pieces import MARK, PieceModel, words_of

Units = Literal["characters", "phones", "pieces"]

# The output alphabet of the published English models, in index order.
CHARACTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

# Names of the blank; the first one that a model has is its blank.
BLANKS = ("<blank>", "<blk>", "[PAD]", "<pad>", "<s>", "-", "")
BOUNDARIES = ("|", "<space>", " ")
UNKNOWN = ("<unk>", "[UNK]")
SPECIAL = ("blank", "word_boundary", "unknown")  # in the metadata: their indices
BRACKETS = (("<", ">"), ("[", "]"))  # around names of symbols that spell nothing
ENGLISH = frozenset("'ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class SpellingError(ValueError):
    """A word that the alphabet cannot spell."""


@dataclass(frozen=True)
class Vocabulary:
    """The output symbols of an acoustic model, by index."""

    symbols: tuple[str, ...]
    blank: int
    """Index of the CTC blank."""
    word_boundary: int | None
    """Index of the symbol that ends a word; None for models without one (phones, pieces)."""
    unknown: int | None = None
    """Index of the symbol for anything that the alphabet lacks, if there is one."""

    units: Units = "characters"
    """The kind of the symbols."""
    piece_model: PieceModel | None = field(default=None, compare=False, repr=False)
    """The model that cuts words into pieces; restoring words from pieces does not need it."""
    normalizer: Normalizer = Normalizer()
    """How transcripts are spelled; phones are not normalised."""

    @classmethod
    def from_labels(
        cls,
        labels: Sequence[str],
        blank: int | None = None,
        units: Units | None = None,
        piece_model: PieceModel | None = None,
        normalizer: Normalizer | None = None,
    ) -> Vocabulary:
        """Find the special symbols by their names in Hugging Face, fairseq and torchaudio.

        blank: its index, where the checkpoint names it. units: None to find them by `units_of`.
        normalizer: None takes `english` for the letters A to Z, and `basic` for other characters.
        Raises ValueError for labels without a blank or with duplicates.
        """
        labels = tuple(labels)
        if len(set(labels)) != len(labels):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            raise ValueError(
                f"A vocabulary must list each symbol once, but {twice[0]!r} is in it twice."
            )
        if blank is None:
            blank = _first(labels, BLANKS)
        if blank is None:
            raise ValueError(
                f"None of the {len(labels)} labels is a blank: none is {', '.join(BLANKS)}."
            )
        units = units or units_of(labels)
        boundary = _first(labels, BOUNDARIES) if units == "characters" else None
        found = cls(labels, blank, boundary, _first(labels, UNKNOWN), units, piece_model)
        return replace(found, normalizer=normalizer or _normalizer_of(found))

    @classmethod
    def from_metadata(cls, labels: Sequence[str], metadata: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary of a checkpoint, from its labels and what `metadata` stored there.

        A checkpoint whose special symbols have other names than those known here stores their
        indices: `blank`, `word_boundary`, `unknown`.

        Raises ValueError for unknown units, a damaged piece model, an index that is not a label's,
        and labels as in `from_labels`.
        """
        units, pieces = metadata.get("units"), metadata.get("pieces")
        if units is not None and units not in get_args(Units):
            raise ValueError(
                f"The units of a checkpoint must be one of {', '.join(get_args(Units))}, "
                f"got {units!r}."
            )
        special = _special(labels, metadata)
        if units is None and special:
            named = {special.get("blank"), special.get("unknown")}
            others = [label for i, label in enumerate(labels) if i not in named]
            bounded = special.get("word_boundary") is not None
            units = "characters" if bounded else units_of(others)
        model = None if pieces is None else PieceModel.from_text(pieces)
        vocabulary = cls.from_labels(labels, special.pop("blank", None), units, model)
        vocabulary = replace(vocabulary, **special)
        spelled = metadata.get("normalizer")
        normalizer = None if spelled is None else Normalizer.from_metadata(spelled)
        return replace(vocabulary, normalizer=normalizer or _normalizer_of(vocabulary))

    @property
    def metadata(self) -> dict[str, Any]:
        """Values that a checkpoint stores with the labels, for `from_metadata`.

        The normaliser is among them unless the labels tell it.
        """
        values: dict[str, Any] = {"units": self.units}
        if self.piece_model is not None:
            values["pieces"] = self.piece_model.as_text()
        if self.normalizer != _normalizer_of(self):
            values["normalizer"] = self.normalizer.metadata
        special = {name: getattr(self, name) for name in SPECIAL}
        try:
            by_name = Vocabulary.from_labels(self.symbols, units=self.units)
        except ValueError:  # none of the labels is known for a blank
            return values | special
        if all(getattr(by_name, name) == index for name, index in special.items()):
            return values
        return values | special

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each symbol."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    @cached_property
    def letters(self) -> frozenset[str]:
        """The symbols that spell words, without the special ones such as blank and </s>."""
        special = {
            self.symbols[i] for i in (self.blank, self.word_boundary, self.unknown) if i is not None
        }
        return frozenset(
            symbol for symbol in self.symbols if symbol not in special and not _is_name(symbol)
        )

    @cached_property
    def _longer(self) -> re.Pattern[str] | None:
        """Finds the symbols of a word where some have several characters; None if none has."""
        longer = sorted((s for s in self.letters if len(s) > 1), key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, longer), "."]), re.DOTALL) if longer else None

    @cached_property
    def phone_set(self) -> PhoneSet | None:
        """Which of TIMIT's sets the symbols are; None for other symbols, which are not folded."""
        return phone_set(self.letters) if self.units == "phones" else None

    def transcript_ids(self, transcript: str | Sequence[str]) -> tuple[int, ...]:
        """The symbol indices of a transcript.

        transcript: text, which the normaliser spells; or phones, in one string or several, which
        are folded to those of the model where both are TIMIT's.

        In characters a word boundary follows every word, the last one too, as in fairseq's `.ltr`
        files and in the spellings of a lexicon. Raises SpellingError for what cannot be spelled.
        """
        parts = transcript.split() if isinstance(transcript, str) else list(transcript)
        if self.units == "phones":
            return self._ids(self._folded(parts), " ".join(parts))
        end = () if self.word_boundary is None else (self.word_boundary,)
        words = self.normalizer(" ".join(parts)).split()
        return tuple(i for word in words for i in (*self.spell(word), *end))

    def spell(self, word: str) -> tuple[int, ...]:
        """The symbol indices of a word, without a boundary. Raises SpellingError."""
        return self._ids(self.symbols_of(word), word)

    def written(self, word: str) -> str:
        """A word as the alphabet can write it: as it is, else as the normaliser or a case has it.

        A word that cannot be written in any of these ways is returned as it is. So a language
        model in capitals serves a model of small letters, and a typographic apostrophe a plain one.
        """
        if self.can_spell([word]):
            return word
        spelled = (self.normalizer(word), word.upper(), word.lower())
        return next((w for w in spelled if w and " " not in w and self.can_spell([w])), word)

    def symbols_of(self, word: str) -> tuple[str, ...]:
        """The symbols that would spell a word: its characters, its pieces, or the phones it lists.

        Where symbols have several characters, the longest one that fits is taken, from left to
        right, as transformers does.

        Raises SpellingError for pieces without their model.
        """
        if self.units == "phones":
            return tuple(word.split())
        if self.units == "characters":
            return tuple(word) if self._longer is None else tuple(self._longer.findall(word))
        if self.piece_model is None:
            raise SpellingError(
                f"{word!r} cannot be cut into pieces: the model that cuts them is not in the "
                "checkpoint"
            )
        return self.piece_model.spell(word)

    def _ids(self, symbols: Sequence[str], word: str) -> tuple[int, ...]:
        missing = sorted(set(symbols) - self.letters)
        if missing:
            raise SpellingError(
                f"the alphabet has no {' '.join(map(repr, missing))} to spell {word!r} with"
            )
        return tuple(self.index[symbol] for symbol in symbols)

    def _folded(self, phones: Sequence[str]) -> Sequence[str]:
        try:
            return phones if self.phone_set is None else fold(phones, self.phone_set)
        except PhoneError as error:
            raise SpellingError(str(error)) from None

    def can_spell(self, words: Iterable[str]) -> bool:
        """Whether the alphabet has every symbol of `words`."""
        if self.units == "pieces" and self.piece_model is None:
            return False
        return all(self.letters.issuperset(self.symbols_of(word)) for word in words)

    def are_symbols(self, words: Iterable[str]) -> bool:
        """Whether the words of a language model are symbols: characters, pieces or phones.

        They are where each of them is one symbol, or one character that the alphabet lacks, and
        they hold at least half of the letters.
        """
        known, symbols = set(words), frozenset(self.symbols)
        strange = known - symbols
        if any(len(word) > 1 or self.units != "characters" for word in strange):
            return False
        return 2 * len(known & self.letters) >= len(self.letters)

    def text(self, ids: Iterable[int]) -> str:
        """The text of symbol indices without repeats and blanks; special symbols are skipped.

        In characters and pieces it is words, in phones the phones, separated by spaces.
        """
        parts = []
        for i in ids:
            if i == self.word_boundary:
                parts.append(" ")
            elif self.symbols[i] in self.letters:
                parts.append(self.symbols[i])
        if self.units == "pieces":
            return words_of(parts)
        return " ".join((" " if self.units == "phones" else "").join(parts).split())


def _special(labels: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The indices of special symbols that a checkpoint's metadata gives. Raises ValueError."""
    special = {name: metadata[name] for name in SPECIAL if name in metadata}
    for name, index in special.items():
        if index is not None and not (isinstance(index, int) and 0 <= index < len(labels)):
            raise ValueError(
                f"The {name} of a checkpoint must be the index of one of its {len(labels)} labels, "
                f"got {index!r}."
            )
    return special


def units_of(labels: Sequence[str]) -> Units:
    """The units of labels, guessed from their form.

    Pieces begin with the mark; among phones there are longer names and no word boundary; all else
    is characters.
    """
    if any(label.startswith(MARK) for label in labels):
        return "pieces"
    special = {*BLANKS, *UNKNOWN}
    longer = any(
        len(label) > 1 and label not in special and not _is_name(label) for label in labels
    )
    return "phones" if longer and _first(labels, BOUNDARIES) is None else "characters"


def _normalizer_of(vocabulary: Vocabulary) -> Normalizer:
    """The normaliser of a checkpoint that names none."""
    letters = vocabulary.letters
    if vocabulary.units != "characters" or {letter.upper() for letter in letters} <= ENGLISH:
        return Normalizer()
    small = any(letter != letter.upper() for letter in letters)
    large = any(letter != letter.lower() for letter in letters)
    return Normalizer("basic", "keep" if small and large else "upper" if large else "lower")


def _is_name(symbol: str) -> bool:
    return len(symbol) > 2 and (symbol[0], symbol[-1]) in BRACKETS


def _first(labels: Sequence[str], names: Iterable[str]) -> int | None:
    return next((labels.index(name) for name in names if name in labels), None)
