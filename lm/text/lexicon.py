"""Words and their spellings in the symbols of the acoustic model."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lm.text.vocabulary import Vocabulary


class LexiconError(ValueError):
    """A lexicon that cannot be read."""


@dataclass(frozen=True)
class Lexicon:
    """Spellings by word, and the words that the alphabet cannot spell."""

    spellings: dict[str, tuple[tuple[int, ...], ...]]
    """Spellings of each word in symbol indices, with the word boundary at the end if any."""
    unspellable: tuple[str, ...] = ()
    """Words left out, since the alphabet lacks a symbol that they need."""
    respelled: tuple[str, ...] = ()
    """Words that are spelled as the model's transcripts are, since the alphabet lacks their own
    symbols."""

    @classmethod
    def from_words(cls, words: Iterable[str], vocabulary: Vocabulary, count: int = 1) -> Lexicon:
        """Spell every word by its characters, or by its word pieces.

        Words that the alphabet cannot write are spelled as its normaliser writes them, if it can.
        count: most spellings of a word in pieces, the likeliest first. Raises LexiconError for a
        vocabulary of phones, since no rule here turns a word into phones, and for pieces without
        the model that cuts words into them.
        """
        if vocabulary.units == "phones":
            raise LexiconError(
                "Words cannot be spelled in phones by rule: give a lexicon that lists their phones "
                "(--lexicon), or search without a language model (--lm none)."
            )
        written = {word: vocabulary.written(word) for word in words}
        respelled = tuple(word for word, spelled in written.items() if spelled != word)
        if vocabulary.units == "characters":
            rows = ((word, vocabulary.symbols_of(spelled)) for word, spelled in written.items())
            return replace(cls._built(rows, vocabulary), respelled=respelled)
        if (model := vocabulary.piece_model) is None:
            raise LexiconError(
                "Words cannot be cut into pieces: the model that cuts them is not in the "
                "checkpoint."
            )
        rows = ((word, row) for word in written for row in model.spellings(written[word], count))
        return replace(cls._built(rows, vocabulary), respelled=respelled)

    @classmethod
    def read(cls, path: Path, vocabulary: Vocabulary) -> Lexicon:
        """Read lines `word<TAB>s p e l l i n g |`, gzip by name; a word may have several lines.

        Words that the alphabet cannot spell go to `unspellable`. Raises LexiconError that names the
        line for a word without a spelling, and for a file that is damaged, not UTF-8 or without a
        word; OSError for one that cannot be opened.
        """
        found = cls._built(_lines(path), vocabulary)
        if not found.spellings and not found.unspellable:
            raise LexiconError(f"The lexicon {path} holds no word.")
        return found

    def with_words(self, words: Iterable[str], vocabulary: Vocabulary) -> Lexicon:
        """The lexicon with further words, spelled as `from_words` does, and raising like it."""
        known = self.spellings.keys() | set(self.unspellable)
        added = Lexicon.from_words((word for word in words if word not in known), vocabulary)
        return Lexicon(
            self.spellings | added.spellings,
            self.unspellable + added.unspellable,
            self.respelled + added.respelled,
        )

    @classmethod
    def _built(
        cls, lines: Iterable[tuple[str, tuple[str, ...]]], vocabulary: Vocabulary
    ) -> Lexicon:
        index, letters = vocabulary.index, vocabulary.letters
        end = () if vocabulary.word_boundary is None else (vocabulary.word_boundary,)
        boundary = (
            None
            if vocabulary.word_boundary is None
            else vocabulary.symbols[vocabulary.word_boundary]
        )
        spellings: dict[str, tuple[tuple[int, ...], ...]] = {}
        unspellable: dict[str, None] = {}
        for word, symbols in lines:
            if symbols and symbols[-1] == boundary:
                symbols = symbols[:-1]
            if not symbols or not letters.issuperset(symbols):
                unspellable[word] = None
                continue
            spelling = tuple([index[symbol] for symbol in symbols]) + end
            known = spellings.get(word, ())
            if spelling not in known:
                spellings[word] = (*known, spelling)
        return cls(spellings, tuple(unspellable))

    def __len__(self) -> int:
        return len(self.spellings)


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    number = 0
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, 1):
                word, *symbols = line.split() or ("",)
                if "\0" in line:
                    raise LexiconError(
                        f"{path}, line {number}: the word {word!r} has a NUL, a byte that no text "
                        "holds: the file is damaged or not a lexicon."
                    )
                if symbols:
                    yield word, tuple(symbols)
                elif word:
                    raise LexiconError(
                        f"{path}, line {number}: the word {word!r} has no spelling after it."
                    )
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LexiconError(
            f"The lexicon {path} is damaged or not UTF-8 text after line {number}: {error}."
        ) from None
