"""A text as it is written, word by word, with the symbols of a model that spell each word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import SpellingError, Vocabulary
from w2v2cli.errors import UsageError, UserError

NAMED = 5  # words that a message lists


@dataclass(frozen=True)
class SpelledWord:
    """A word of a text, or a few that only together can be said in words, such as "$5 million"."""

    text: str
    """As it stands in the text, with its punctuation."""
    symbols: tuple[int, ...]
    """The model's symbols, with a boundary between the words that a number becomes."""
    missing: str = ""
    """Letters of the word that the model does not have, and that are left out."""


def spelled_lines(text: str, vocabulary: Vocabulary) -> list[list[SpelledWord]]:
    """The words of each line of a text that has any.

    The model's own normaliser spells them. What it leaves nothing of, such as a dash, is joined to
    the word before it, or else to the one after. Raises UserError for a text without anything that
    the model can write, and for word pieces without their model.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    found = [list(_joined(_spelled(line, vocabulary))) for line in lines]
    if not any(word.symbols for line in found for word in line):
        raise UserError(
            f"The text holds nothing that the model can write ({text.strip()[:40]!r}): its "
            f"letters are {' '.join(sorted(vocabulary.letters))[:80]}."
        )
    return found


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises UsageError where there is none, UserError."""
    if not path.is_file():
        raise UsageError(f"There is no file {path} with a text.")
    try:
        return decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def decoded(data: bytes, name: str) -> str:
    """The text of some bytes in UTF-8. Raises UserError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name} is no text in UTF-8: is it a recording?") from None
    if not text.strip():
        raise UserError(f"{name} holds no text.")
    return text


def told_missing(lines: Sequence[Sequence[SpelledWord]]) -> str | None:
    """A sentence about the words whose letters the model lacks, with examples; None without any."""
    short = [word for line in lines for word in line if word.missing]
    if not short:
        return None
    letters = " ".join(sorted({letter for word in short for letter in word.missing}))
    named = ", ".join(list(dict.fromkeys(word.text for word in short))[:NAMED])
    silent = sum(not word.symbols for word in short)
    lost = f"; {silent} of them have none left, and get the gap where they stand" if silent else ""
    words = "1 word has letters" if len(short) == 1 else f"{len(short)} words have letters"
    return f"{words} that the model lacks, and that are left out: {letters} (in {named}){lost}."


def _spelled(words: Sequence[str], vocabulary: Vocabulary) -> Iterator[SpelledWord]:
    if vocabulary.units == "phones":
        yield from (_phone(word, vocabulary) for word in words)
        return
    for word, said in zip(words, normalized(words, vocabulary.normalizer), strict=True):
        symbols: list[int] = []
        missing = "" if said else _lost(word, vocabulary.normalizer)
        for part in map(vocabulary.written, said):
            try:
                letters = vocabulary.symbols_of(part)
            except SpellingError as error:
                raise UserError(f"The text cannot be aligned: {error}.") from None
            spelled = [vocabulary.index[s] for s in letters if s in vocabulary.letters]
            missing += "".join(s for s in letters if s not in vocabulary.letters)
            if symbols and spelled and vocabulary.word_boundary is not None:
                symbols.append(vocabulary.word_boundary)
            symbols += spelled
        yield SpelledWord(word, tuple(symbols), missing)


def _lost(word: str, normalizer: Normalizer) -> str:
    """The letters of a word that a normaliser leaves nothing of, if it has any."""
    return "" if normalizer(word) else "".join(c for c in word if c.isalnum())


def _phone(phone: str, vocabulary: Vocabulary) -> SpelledWord:
    try:
        return SpelledWord(phone, vocabulary.transcript_ids([phone]))
    except SpellingError:
        return SpelledWord(phone, (), phone)


def normalized(words: Sequence[str], normalizer: Normalizer) -> list[list[str]]:
    """What each word of a line becomes when the line is normalised as a whole.

    Where a word is read by its neighbours, as "$5 million" is, it gets the words that differ from
    those that it gets alone, and what it leaves over is nothing.
    """
    alone = [normalizer(f"{word} ").split() for word in words]  # the space ends a title such as Mr.
    whole = normalizer(" ".join(words)).split()
    apart = [part for parts in alone for part in parts]
    if apart == whole:
        return alone
    owners = [place for place, parts in enumerate(alone) for _ in parts]
    found: list[list[str]] = [[] for _ in words]
    for kind, first, end, begin, after in SequenceMatcher(None, apart, whole).get_opcodes():
        for offset, part in enumerate(whole[begin:after]):
            if kind == "insert":
                place = max(first - 1, 0)
            else:
                place = min(first + offset, end - 1)
            found[owners[place] if owners else 0].append(part)
    return found


def _joined(words: Iterator[SpelledWord]) -> Iterator[SpelledWord]:
    """The words, with those that nothing is said of joined to a neighbour."""
    held: SpelledWord | None = None
    for word in words:
        silent = not word.symbols and not word.missing
        if held is None:
            held = word
        elif silent or (not held.symbols and not held.missing):
            held = SpelledWord(
                f"{held.text} {word.text}",
                held.symbols or word.symbols,
                held.missing + word.missing,
            )
        else:
            yield held
            held = word
    if held is not None:
        yield held
