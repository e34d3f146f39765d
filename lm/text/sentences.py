"""Sentences of text files, one after the other, however large the files are."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from lm.language_model import LanguageModelError
from lm.text.normalization import normalize_text, sentences

PARAGRAPH = 1 << 20  # characters after which text is cut even without an empty line


class TextError(LanguageModelError):
    """A text that cannot be read."""


def read_sentences(path: Path, *, normalize: bool) -> Iterator[list[str]]:
    """The words of each sentence of a UTF-8 file, gzip by name.

    normalize: split text into sentences, paragraph by paragraph, and spell it as transcripts are; else a line is a
    sentence as it is. Empty ones are left out. Raises TextError.
    """
    try:
        opened = (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8")
        )
        with opened as file:
            if not normalize:
                yield from filter(None, map(str.split, file))
                return
            for paragraph in _paragraphs(file):
                for sentence in sentences(paragraph):
                    if words := normalize_text(sentence).split():
                        yield words
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise TextError(f"{path} is no whole UTF-8 text: {error}.") from None


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if not line.strip() or size > PARAGRAPH:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)
