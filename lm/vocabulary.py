"""The symbols an acoustic model writes with: which is the blank, which ends a word, how a word is spelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

# The output alphabet of the published English models, in index order.
CHARACTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

BLANKS = ("<blank>", "<blk>", "[PAD]", "<pad>", "<s>", "-", "")  # the first one that a model has is its blank
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

    @classmethod
    def from_labels(cls, labels: Sequence[str], blank: int | None = None) -> Vocabulary:
        """Find the special symbols by the names that Hugging Face, fairseq and torchaudio give them.

        blank: its index where the checkpoint says so. Raises ValueError for labels with no blank or with repeats.
        """
        labels = tuple(labels)
        if len(set(labels)) != len(labels):
            twice = sorted({label for label in labels if labels.count(label) > 1})
            raise ValueError(f"A vocabulary names each symbol once, but {twice[0]!r} stands in it twice.")
        if blank is None:
            blank = _first(labels, BLANKS)
        if blank is None:
            raise ValueError(f"None of the {len(labels)} labels is a blank: looked for {', '.join(BLANKS)}.")
        return cls(labels, blank, _first(labels, BOUNDARIES), _first(labels, UNKNOWN))

    @cached_property
    def index(self) -> dict[str, int]:
        """Symbol to index."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    @cached_property
    def letters(self) -> frozenset[str]:
        """The symbols that words are written with."""
        special = {self.symbols[i] for i in (self.blank, self.word_boundary, self.unknown) if i is not None}
        return frozenset(symbol for symbol in self.symbols if symbol not in special and not _is_name(symbol))

    def spell(self, word: str) -> tuple[int, ...]:
        """Indices of a word's symbols, without a boundary; SpellingError names the characters that are missing."""
        missing = sorted(set(word) - self.letters)
        if missing:
            raise SpellingError(f"the alphabet has no {' '.join(map(repr, missing))} to spell {word!r} with")
        return tuple(self.index[character] for character in word)

    def can_spell(self, words: Iterable[str]) -> bool:
        """Whether every one of `words` can be written."""
        return all(self.letters.issuperset(word) for word in words)

    def text(self, ids: Iterable[int]) -> str:
        """Words written by collapsed indices; blanks and special symbols say nothing."""
        parts = []
        for i in ids:
            if i == self.word_boundary:
                parts.append(" ")
            elif self.symbols[i] in self.letters:
                parts.append(self.symbols[i])
        return " ".join("".join(parts).split())


def _is_name(symbol: str) -> bool:
    return len(symbol) > 2 and (symbol[0], symbol[-1]) in BRACKETS


def _first(labels: Sequence[str], names: Iterable[str]) -> int | None:
    return next((labels.index(name) for name in names if name in labels), None)
