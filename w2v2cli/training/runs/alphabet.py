"""The letters of transcripts, an alphabet made of them, and what is said about both."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lm.text.changes import ChangeReport
from lm.text.normalizers import Normalizer, is_numeral
from lm.text.vocabulary import BLANKS, BOUNDARIES, ENGLISH, UNKNOWN, Vocabulary
from models.importers.labels import STANDARD
from models.importers.tokenizer import vocabulary_labels
from w2v2cli.errors import UserError

SPECIAL = STANDARD[:5]  # blank, <s>, </s>, <unk> and the word boundary, as published
RARE = 10  # occurrences; letters with fewer are listed
SHOWN = 10  # letters in one line


def is_english(texts: Iterable[str]) -> bool:
    """Whether the letters of the texts, and their marks, are among A to Z.

    Digits, hyphens and punctuation do not count. Texts without letters are English.
    """
    spell = Normalizer("basic", "lower")
    found = {character for text in texts if not text.isascii() for character in spell(text)}
    letters = {c for c in found if unicodedata.category(c)[0] in "LM"}
    return letters <= {letter.lower() for letter in ENGLISH}


def letters_of(texts: Iterable[str], normalizer: Normalizer) -> Counter[str]:
    """Return how often each character occurs in the normalised texts, without spaces."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer(text))
    counts.pop(" ", None)
    return counts


def labels_for(texts: Iterable[str], normalizer: Normalizer) -> tuple[str, ...]:
    """Return the output symbols for transcripts.

    They are the published English ones where those suffice. Others have the letters in the place of
    A to Z, the commonest first, and no digits: how a digit is said depends on the language.
    """
    if normalizer.name == "english":
        return STANDARD
    letters = letters_of(texts, normalizer)
    spelled = {letter for letter in letters if not is_numeral(letter)}
    if normalizer.case == "upper" and spelled <= ENGLISH:
        return STANDARD
    own = sorted(spelled - set(SPECIAL), key=lambda letter: (-letters[letter], letter))
    return (*SPECIAL, *own)


def without_numerals(texts: Iterable[str], normalizer: Normalizer) -> list[str]:
    """Return the texts that have no digits when they are normalised."""
    return [text for text in texts if not any(map(is_numeral, normalizer(text)))]


def read_alphabet(path: Path) -> tuple[str, ...]:
    """Return the symbols of a file: one a line, or `vocab.json` as transformers writes it.

    A blank and a word boundary are added where the file names none. Raises UserError.
    """
    try:
        if path.name == "vocab.json":
            labels = vocabulary_labels(path)
        else:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
            labels = tuple(line.strip("\r\n") for line in lines if line.strip("\r\n"))
    except OSError as error:
        raise UserError(
            f"--alphabet {path}: the file cannot be read ({error.strerror}). Give auto, english, "
            "checkpoint or a file of symbols."
        ) from None
    except ValueError as error:
        raise UserError(f"--alphabet {path}: {error}") from None
    labels = tuple(unicodedata.normalize("NFC", label) for label in labels)
    if not set(labels) - {*BLANKS, *BOUNDARIES, *UNKNOWN}:
        raise UserError(f"--alphabet {path}: the file has no letters.")
    # "-" and "" are blanks only where a checkpoint says so: in a file the first is a hyphen.
    if not set(labels) & set(BLANKS[:5]):
        labels = (SPECIAL[0], *labels)
    return labels if set(labels) & set(BOUNDARIES) else (*labels, SPECIAL[4])


def alphabet_lines(
    vocabulary: Vocabulary, ids: Sequence[str], texts: Sequence[str | None]
) -> Iterator[str]:
    """Yield lines about the alphabet, its rare letters, digits, and what was normalised.

    ids, texts: those of all utterances. There are no lines where all of them are English as
    LibriSpeech writes it.
    """
    if vocabulary.units == "phones":
        return
    spell = vocabulary.normalizer
    said = {name: spell(text) for name, text in zip(ids, texts, strict=True) if text}
    if vocabulary.units == "characters" and vocabulary.symbols != STANDARD:
        yield from _letter_lines(vocabulary, said)
    if spell.name != "english":
        yield from _numeral_lines(vocabulary, said)
    if (
        not spell.language
        and spell.name == "basic"
        and any(set("ıİ") & set(t or "") for t in texts)
    ):
        yield "Transcripts have ı or İ: give --language tr or az, so that i and I keep their dots."
    report = ChangeReport(spell)
    for name, text in zip(ids, texts, strict=True):
        report.spell(text or "", name)
    yield from report.lines("transcripts")


def _letter_lines(vocabulary: Vocabulary, said: dict[str, str]) -> Iterator[str]:
    counts = Counter(character for text in said.values() for character in text)
    known = {letter: counts[letter] for letter in vocabulary.symbols if counts[letter]}
    known.pop(" ", None)
    listed = ", ".join(f"{letter} {count}" for letter, count in known.items())
    yield (
        f"Alphabet: {len(vocabulary.symbols)} symbols, normaliser {vocabulary.normalizer}; "
        f"letters in the transcripts: {listed}."
    )
    rare = {letter: count for letter, count in known.items() if count < RARE}
    where = [
        f"{letter} {count} ({next(name for name, text in said.items() if letter in text)})"
        for letter, count in list(rare.items())[:SHOWN]
    ]
    if where:
        more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
        yield f"Rare letters, with an utterance that has each: {', '.join(where)}{more}."


def _numeral_lines(vocabulary: Vocabulary, said: dict[str, str]) -> Iterator[str]:
    spelled = set("".join(vocabulary.letters))
    refused = {
        name: [c for c in text if is_numeral(c) and c not in spelled] for name, text in said.items()
    }
    refused = {name: digits for name, digits in refused.items() if digits}
    if refused:
        count = sum(map(len, refused.values()))
        yield (
            f"Digits that the alphabet lacks: {count} in {len(refused)} utterances "
            f"({next(iter(refused))} first), which are left out. Write numbers in words, or give "
            "an --alphabet file that has the digits."
        )
