"""The symbols an acoustic model writes with: which is the blank, where words end, how transcripts are spelled.

Characters have a symbol that ends each word; phones know no words; of word pieces the first of each word bears a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from lm.text.normalization import normalize_text
from lm.text.phones import PhoneError, PhoneSet, fold, phone_set
from lm.text.pieces import MARK, PieceModel, words_of

Units = Literal["characters", "phones", "pieces"]

# The output alphabet of the published English models, in index order.
CHARACTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

BLANKS = (
    "<blank>",
    "<blk>",
    "[PAD]",
    "<pad>",
    "<s>",
    "-",
    "",
)  # the first one that a model has is its blank
BOUNDARIES = ("|", "<space>", " ")
UNKNOWN = ("<unk>", "[UNK]")
BRACKETS = (("<", ">"), ("[", "]"))  # around the names of symbols that write nothing: </s>, [PAD]


class SpellingError(ValueError):
    """A word that the alphabet cannot write."""


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of the acoustic model's outputs."""

    symbols: tuple[str, ...]
    blank: int
    """Index of the CTC blank."""
    word_boundary: int | None
    """Index of the symbol between two words; None for models without one (phones)."""
    unknown: int | None = None
    """Index of the symbol for what the alphabet lacks."""

    units: Units = "characters"
    """What the symbols are."""
    piece_model: PieceModel | None = field(default=None, compare=False, repr=False)
    """What cuts words into pieces; reading pieces does without."""

    @classmethod
    def from_labels(
        cls,
        labels: Sequence[str],
        blank: int | None = None,
        units: Units | None = None,
        piece_model: PieceModel | None = None,
    ) -> Vocabulary:
        """Find the special symbols by the names that Hugging Face, fairseq and torchaudio give them.

        blank: its index where the checkpoint says so. units: None tells them by the labels. Raises ValueError for labels
        with no blank or with repeats.
        """
        labels = tuple(labels)
        if len(set(labels)) != len(labels):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            raise ValueError(
                f"A vocabulary names each symbol once, but {twice[0]!r} stands in it twice."
            )
        if blank is None:
            blank = _first(labels, BLANKS)
        if blank is None:
            raise ValueError(
                f"None of the {len(labels)} labels is a blank: looked for {', '.join(BLANKS)}."
            )
        units = units or units_of(labels)
        boundary = _first(labels, BOUNDARIES) if units == "characters" else None
        return cls(labels, blank, boundary, _first(labels, UNKNOWN), units, piece_model)

    @classmethod
    def from_metadata(cls, labels: Sequence[str], metadata: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary of a checkpoint: its labels, and what `metadata` wrote there; ValueError where that is wrong."""
        units, pieces = metadata.get("units"), metadata.get("pieces")
        if units is not None and units not in get_args(Units):
            raise ValueError(
                f"The checkpoint's units are {', '.join(get_args(Units))}; it says {units!r}."
            )
        return cls.from_labels(
            labels, None, units, None if pieces is None else PieceModel.from_text(pieces)
        )

    @property
    def metadata(self) -> dict[str, str]:
        """What a checkpoint keeps beside the labels, for `from_metadata`."""
        pieces = {} if self.piece_model is None else {"pieces": self.piece_model.as_text()}
        return {"units": self.units, **pieces}

    @cached_property
    def index(self) -> dict[str, int]:
        """Symbol to index."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    @cached_property
    def letters(self) -> frozenset[str]:
        """The symbols that words are written with."""
        special = {
            self.symbols[i] for i in (self.blank, self.word_boundary, self.unknown) if i is not None
        }
        return frozenset(
            symbol for symbol in self.symbols if symbol not in special and not _is_name(symbol)
        )

    @cached_property
    def phone_set(self) -> PhoneSet | None:
        """Which of TIMIT's sets the symbols are; None for others, which nothing folds."""
        return phone_set(self.letters) if self.units == "phones" else None

    def transcript_ids(self, transcript: str | Sequence[str]) -> tuple[int, ...]:
        """Label ids of a transcript: a text, or phones in one string or several. SpellingError for what cannot be written.

        Characters bear the word boundary after every word, the last one too: as in fairseq's `.ltr` files, and what a
        lexicon search looks for. TIMIT's phones are folded to those of the model.
        """
        parts = transcript.split() if isinstance(transcript, str) else list(transcript)
        if self.units == "phones":
            return self._ids(self._folded(parts), " ".join(parts))
        end = () if self.word_boundary is None else (self.word_boundary,)
        words = normalize_text(" ".join(parts)).split()
        return tuple(i for word in words for i in (*self.spell(word), *end))

    def spell(self, word: str) -> tuple[int, ...]:
        """Indices of a word's symbols, without a boundary; SpellingError names the symbols that are missing."""
        return self._ids(self.symbols_of(word), word)

    def symbols_of(self, word: str) -> tuple[str, ...]:
        """The symbols that would write a word: its characters, its pieces, or the phones that it lists."""
        if self.units == "phones":
            return tuple(word.split())
        if self.units == "characters":
            return tuple(word)
        if self.piece_model is None:
            raise SpellingError(
                f"{word!r} cannot be cut into pieces: the model that cuts them is not in the checkpoint"
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
        """Whether every one of `words` can be written."""
        if self.units == "pieces" and self.piece_model is None:
            return False
        return all(self.letters.issuperset(self.symbols_of(word)) for word in words)

    def text(self, ids: Iterable[int]) -> str:
        """What collapsed indices write; blanks and special symbols say nothing.

        Words for characters and pieces, the phones with spaces between them for phones.
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


def units_of(labels: Sequence[str]) -> Units:
    """What labels alone say of their units."""
    if any(label.startswith(MARK) for label in labels):
        return "pieces"
    special = {*BLANKS, *UNKNOWN}
    longer = any(
        len(label) > 1 and label not in special and not _is_name(label) for label in labels
    )
    return "phones" if longer and _first(labels, BOUNDARIES) is None else "characters"


def _is_name(symbol: str) -> bool:
    return len(symbol) > 2 and (symbol[0], symbol[-1]) in BRACKETS


def _first(labels: Sequence[str], names: Iterable[str]) -> int | None:
    return next((labels.index(name) for name in names if name in labels), None)
