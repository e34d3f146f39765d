"""The words of a neural language model and their numbers, as fairseq numbers them: four specials, then by frequency."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lm.language_model import LanguageModelError

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
PAD, END, UNKNOWN = 1, 2, 3
"""A sentence begins and ends with </s>: <s> is in the list but never in the text."""
NAMED = 3  # words that a message names before it only counts


class Dictionary:
    """Words by number. A word that stands in the list twice goes by its first number."""

    def __init__(self, symbols: Iterable[str]) -> None:
        """symbols: the specials and then the words, most frequent first. Raises LanguageModelError."""
        self.symbols = tuple(symbols)
        if self.symbols[: len(SPECIALS)] != SPECIALS:
            raise LanguageModelError(
                f"A dictionary begins with {' '.join(SPECIALS)}, this one with {' '.join(self.symbols[:4])!r}."
            )

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def words(self) -> tuple[str, ...]:
        """The symbols that are words."""
        return self.symbols[len(SPECIALS) :]

    @cached_property
    def index(self) -> dict[str, int]:
        """Word to number; specials are not words."""
        numbers: dict[str, int] = {}
        for number, word in enumerate(self.words, len(SPECIALS)):
            numbers.setdefault(word, number)
        return numbers

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the words in their order."""
        return hashlib.sha256("\n".join(self.symbols).encode()).hexdigest()

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Words -> (N,) int32 numbers, <unk> for those it lacks."""
        index = self.index
        return np.array([index.get(word, UNKNOWN) for word in words], np.int32)

    @classmethod
    def from_counts(
        cls, counts: Counter[str], size: int | None = None, min_count: int = 1
    ) -> Dictionary:
        """The words that occur at least `min_count` times, `size` at most with the specials, ties in alphabetic order."""
        if size is not None and size <= len(SPECIALS):
            raise LanguageModelError(f"--vocab-size must be more than {len(SPECIALS)}, got {size}.")
        ranked = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        words = [word for _, word in ranked if word not in SPECIALS]
        if not words:
            raise LanguageModelError(
                f"No word occurs {min_count} times: there is nothing to make a vocabulary of."
            )
        return cls((*SPECIALS, *words[: None if size is None else size - len(SPECIALS)]))


def read_fairseq_dictionary(path: Path, *, upper: bool = True) -> tuple[Dictionary, list[str]]:
    """fairseq's `dict.txt`, `word count` a line, the specials implied; upper: spell words in capitals.

    Returns it and the sentences to tell: words that became equal in capitals. Raises LanguageModelError.
    """
    words = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                fields = line.rstrip("\n").removesuffix(" #fairseq:overwrite").rsplit(" ", 1)
                if len(fields) != 2 or not fields[1].isdigit():
                    raise LanguageModelError(
                        f"{path} line {number} is no word and count: {line.strip()[:40]!r}."
                    )
                words.append(fields[0].upper() if upper else fields[0])
    except UnicodeDecodeError as error:
        raise LanguageModelError(f"{path} is no UTF-8 text: {error}.") from None
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
        f"{path.name} holds {len(again)} words twice (in capitals): the first counts, as of {shown}."
    ]
