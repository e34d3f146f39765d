"""A lexicon as flat arrays, kept in a file: 200 000 words are read in a tenth of the time that spelling them takes."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

FORMAT = 1  # of the kept file; another is another name


@dataclass(frozen=True)
class FlatLexicon:
    """N words and R spellings, in the order of the lexicon."""

    words: list[str]
    symbols: np.ndarray
    """int32, the indices of all spellings one after the other."""
    ends: np.ndarray
    """(R,) uint64, where in `symbols` each spelling ends."""
    owners: np.ndarray
    """(R,) int32, the word of each."""
    unspellable: tuple[str, ...] = ()

    @classmethod
    def of(cls, lexicon: Lexicon) -> FlatLexicon:
        """The same in arrays, without <unk>: it stands for words outside the lexicon."""
        words = [word for word in lexicon.spellings if word != "<unk>"]
        rows = [
            (number, row) for number, word in enumerate(words) for row in lexicon.spellings[word]
        ]
        return cls(
            words,
            np.array([symbol for _, row in rows for symbol in row], np.int32),
            np.cumsum([len(row) for _, row in rows], dtype=np.uint64),
            np.array([number for number, _ in rows], np.int32),
            lexicon.unspellable,
        )

    @classmethod
    def read(cls, path: Path) -> FlatLexicon:
        """What `write` wrote. ValueError for anything else."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                words, unspellable = (
                    bytes(file[name]).decode().split("\n") for name in ("words", "unspellable")
                )
                flat = cls(
                    words[:-1],
                    file["symbols"],
                    file["ends"],
                    file["owners"],
                    tuple(unspellable[:-1]),
                )
        except (KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged: {error}.") from None
        if len(flat.ends) != len(flat.owners) or (
            len(flat.ends) and flat.ends[-1] != len(flat.symbols)
        ):
            raise ValueError(f"{path} is damaged.")
        return flat

    def write(self, path: Path) -> None:
        """Write `path`, beside it first and then renamed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with beside.open("wb") as file:
                np.savez(
                    file, words=_text(self.words), unspellable=_text(self.unspellable), symbols=self.symbols,
                    ends=self.ends, owners=self.owners,
                )  # fmt: skip
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self.words)


def kept_lexicon(
    content: str, vocabulary: Vocabulary, folder: Path, make: Callable[[], Lexicon]
) -> tuple[FlatLexicon, list[str]]:
    """The lexicon that `make` makes, from the file of it in `folder` if there is one; and a sentence if none can be kept.

    content: a hash of what it is made from. Spellings in word pieces are made anew: their model is not among the symbols.
    """
    if vocabulary.units == "pieces":
        return FlatLexicon.of(make()), []
    of = "\n".join(
        (
            content,
            vocabulary.units,
            str(vocabulary.blank),
            str(vocabulary.word_boundary),
            *vocabulary.symbols,
        )
    )
    path = folder / f"{hashlib.sha256(of.encode()).hexdigest()}-{FORMAT}.lexicon"
    if path.is_file():
        try:
            return FlatLexicon.read(path), []
        except (OSError, ValueError):
            pass  # damaged or unreadable: it is made again, over this one
    flat = FlatLexicon.of(make())
    try:
        flat.write(path)
    except OSError as error:
        return flat, [
            f"The lexicon cannot be kept in {folder} ({error.strerror}): it is spelled anew each time."
        ]
    return flat, []


def _text(words: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.frombuffer("".join(f"{word}\n" for word in words).encode(), np.uint8)
