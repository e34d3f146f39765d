"""The words of a neural language model and their numbers.

Numbers are assigned as in fairseq: four specials, then the words by frequency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lm.language_model import LanguageModelError
from storage.hashing import hash_of

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
PAD, END, UNKNOWN = 1, 2, 3
"""A sentence begins and ends with </s>; <s> has a number but never occurs."""
NAMED = 3  # words that a message names before it only counts


class Dictionary:
    """Words and their numbers; a word that is listed twice has its first number."""

    def __init__(self, symbols: Iterable[str]) -> None:
        """symbols: the specials, then the words, most frequent first.

        Raises LanguageModelError when the specials are not first.
        """
        self.symbols = tuple(symbols)
        if self.symbols[: len(SPECIALS)] != SPECIALS:
            raise LanguageModelError(
                f"A dictionary begins with {' '.join(SPECIALS)}, "
                f"this one with {' '.join(self.symbols[:4])!r}."
            )

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def words(self) -> tuple[str, ...]:
        """The symbols that are words."""
        return self.symbols[len(SPECIALS) :]

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each word; specials are not words."""
        numbers: dict[str, int] = {}
        for number, word in enumerate(self.words, len(SPECIALS)):
            numbers.setdefault(word, number)
        return numbers

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the symbols in their order."""
        return hash_of(*self.symbols)

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """N words -> (N,) int32 numbers; words that it lacks become <unk>."""
        index = self.index
        return np.array([index.get(word, UNKNOWN) for word in words], np.int32)

    @classmethod
    def from_counts(cls, counts: Counter[str], size: int | None = None) -> Dictionary:
        """The most frequent words; ties are ordered alphabetically.

        size: most entries, specials included; None keeps all words. Raises LanguageModelError for a
        size without room for words, and where there are no words.
        """
        if size is not None and size <= len(SPECIALS):
            raise LanguageModelError(f"vocabulary must be more than {len(SPECIALS)}, got {size}.")
        ranked = sorted((-count, word) for word, count in counts.items())
        words = [word for _, word in ranked if word not in SPECIALS]
        if not words:
            raise LanguageModelError("The text has no words to make a vocabulary of.")
        return cls((*SPECIALS, *words[: None if size is None else size - len(SPECIALS)]))


def read_fairseq_dictionary(path: Path, *, upper: bool = True) -> tuple[Dictionary, list[str]]:
    """Read a `dict.txt` of fairseq: a line `word count` for each word, without the specials.

    upper: write words in capitals. Returns the dictionary and the warnings: a sentence where words
    became equal by that. Raises LanguageModelError for a file that cannot be read.
    """
    words = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                fields = line.rstrip("\n").removesuffix(" #fairseq:overwrite").rsplit(" ", 1)
                if len(fields) != 2 or not fields[1].isdigit():
                    raise LanguageModelError(
                        f"{path} line {number} is not a word and a count: {line.strip()[:40]!r}."
                    )
                words.append(fields[0].upper() if upper else fields[0])
    except UnicodeDecodeError as error:
        raise LanguageModelError(f"{path} is not UTF-8 text: {error}.") from None
    except OSError as error:
        raise LanguageModelError(
            f"The dictionary {path} cannot be read: {error.strerror}."
        ) from None
    dictionary = Dictionary((*SPECIALS, *words))
    again = [
        word for number, word in enumerate(words, len(SPECIALS)) if dictionary.index[word] != number
    ]
    if not again:
        return dictionary, []
    shown = ", ".join(again[:NAMED]) + (
        f" and {len(again) - NAMED} more" if len(again) > NAMED else ""
    )
    return dictionary, [
        f"{path.name} lists {len(again)} words twice (in capitals), such as {shown}: "
        "the first entry of each is used."
    ]
