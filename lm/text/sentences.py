"""Sentences of text files, one after the other, however large the files are."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from lm.language_model import LanguageModelError
from lm.text.normalization import normalize_text, sentences

PARAGRAPH = 1 << 20  # characters after which text is cut even without a blank line
TEXT_NAMES = (".txt", ".txt.gz")


class TextError(LanguageModelError):
    """A text that is missing or cannot be read."""


def text_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the text files among `paths`, those of folders in alphabetical order.

    Any file counts as a text; in a folder, and in the folders in it, only .txt and .txt.gz do.
    Raises TextError for a path that does not exist and for a folder without texts.
    """
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.name.endswith(TEXT_NAMES))
            if not found:
                raise TextError(f"The folder {path} holds no .txt or .txt.gz.")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise TextError(f"There is no text at {path}.")


def read_sentences(path: Path, *, normalize: bool) -> Iterator[list[str]]:
    """Yield the words of each sentence of a UTF-8 file, gzip by name.

    normalize: split running text into sentences and spell them by `normalize_text`. Otherwise each
    line is a sentence, taken as it is; blank lines are left out. (lmplz of KenLM counts a blank
    line as an empty sentence.)

    Raises TextError for a file that is not UTF-8 or not complete, OSError for one that cannot be
    opened.
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
        raise TextError(f"{path} is not a complete UTF-8 text: {error}.") from None


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    """Yield the text up to each blank line, or up to `PARAGRAPH` characters."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if not line.strip() or size > PARAGRAPH:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)
