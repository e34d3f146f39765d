"""A lexicon as flat arrays, kept in a file.

200 000 words are read from it in a tenth of the time that spelling them takes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lm.language_model import UNK
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
from storage.hashing import bytes_hash, hash_of
from storage.whole import write_whole

FORMAT = 3  # of the kept file; part of its name
DIGEST = 64  # bytes at its end, the SHA-256 of what is before them


@dataclass(frozen=True)
class FlatLexicon:
    """N words and R spellings, in the order of the lexicon."""

    words: list[str]
    symbols: np.ndarray
    """int32, the symbol indices of all spellings, concatenated."""
    ends: np.ndarray
    """(R,) uint64, where each spelling ends in `symbols`."""
    owners: np.ndarray
    """(R,) int32, the word that each spelling is one of."""
    unspellable: tuple[str, ...] = ()
    """The words that the alphabet cannot write."""
    respelled: tuple[str, ...] = ()
    """The words that are spelled as the model's transcripts are."""

    @classmethod
    def of(cls, lexicon: Lexicon) -> FlatLexicon:
        """The lexicon in arrays, without <unk>, which stands for words outside the lexicon."""
        words = [word for word in lexicon.spellings if word != UNK]
        rows = [
            (number, row) for number, word in enumerate(words) for row in lexicon.spellings[word]
        ]
        return cls(
            words,
            np.array([symbol for _, row in rows for symbol in row], np.int32),
            np.cumsum([len(row) for _, row in rows], dtype=np.uint64),
            np.array([number for number, _ in rows], np.int32),
            lexicon.unspellable,
            lexicon.respelled,
        )

    @classmethod
    def read(cls, path: Path) -> FlatLexicon:
        """Read a file of `write`. Raises ValueError for a damaged file or another one."""
        content = path.read_bytes()
        content, digest = content[:-DIGEST], content[-DIGEST:]
        if bytes_hash(content).encode() != digest:  # else numpy and zipfile may raise anything
            raise ValueError(f"{path} is damaged.")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                words, unspellable, respelled = (
                    bytes(file[name]).decode().split("\n")[:-1]
                    for name in ("words", "unspellable", "respelled")
                )
                flat = cls(
                    words,
                    file["symbols"],
                    file["ends"],
                    file["owners"],
                    tuple(unspellable),
                    tuple(respelled),
                )
        except (KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged: {error}.") from None
        if len(flat.ends) != len(flat.owners) or (
            len(flat.ends) and flat.ends[-1] != len(flat.symbols)
        ):
            raise ValueError(f"{path} is damaged.")
        return flat

    def write(self, path: Path) -> None:
        """Write `path`, whole or not at all. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.savez(
            file,
            words=_lines(self.words),
            unspellable=_lines(self.unspellable),
            respelled=_lines(self.respelled),
            symbols=self.symbols,
            ends=self.ends,
            owners=self.owners,
        )
        content = file.getvalue()
        write_whole(path, content + bytes_hash(content).encode())

    def rows(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Each spelling with the word that it is one of."""
        symbols, begin = self.symbols.tolist(), 0
        for end, word in zip(self.ends.tolist(), self.owners.tolist(), strict=True):
            yield tuple(symbols[begin:end]), word
            begin = end

    def with_twins(self, symbol: int) -> FlatLexicon:
        """Each spelling, followed by the same spelling with `symbol` after it."""
        rows = np.split(self.symbols, self.ends[:-1].astype(np.int64))
        after = np.array([symbol], np.int32)
        twice = [row for first in rows for row in (first, np.concatenate([first, after]))]
        return replace(
            self,
            symbols=np.concatenate(twice),
            ends=np.cumsum([len(row) for row in twice], dtype=np.uint64),
            owners=np.repeat(self.owners, 2),
        )

    def __len__(self) -> int:
        return len(self.words)


def kept_lexicon(
    content: str, vocabulary: Vocabulary, folder: Path, make: Callable[[], Lexicon]
) -> tuple[FlatLexicon, list[str]]:
    """The lexicon that `make` makes, read from its file in `folder` where there is one.

    content: a hash of what the lexicon is made from, and of how. Everything of the vocabulary that
    decides a spelling is part of the file's name; FORMAT stands for the rules of spelling.
    Returns the lexicon, and a warning if it cannot be kept. Spellings in word pieces are never
    kept: the model that cuts them is not part of the file's name.
    """
    if vocabulary.units == "pieces":
        return FlatLexicon.of(make()), []
    name = hash_of(
        content,
        vocabulary.units,
        str(vocabulary.blank),
        str(vocabulary.word_boundary),
        str(vocabulary.unknown),
        str(vocabulary.normalizer.metadata),
        *vocabulary.symbols,
    )
    path = folder / f"{name}-{FORMAT}.lexicon"
    if path.is_file():
        try:
            return FlatLexicon.read(path), []
        except (OSError, ValueError):
            pass  # damaged or unreadable: it is made again and replaces this one
    flat = FlatLexicon.of(make())
    try:
        flat.write(path)
    except OSError as error:
        return flat, [
            f"The lexicon cannot be kept in {folder} ({error.strerror}): "
            "it is spelled anew each time."
        ]
    return flat, []


def _lines(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("".join(f"{word}\n" for word in words).encode(), np.uint8)
