"""Sentences of text files, one after the other, however large the files are."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from lm.language_model import LanguageModelError
from lm.text.normalization import sentences
from lm.text.reading import AS_IT_IS, FEWEST, SAMPLE, Reading, ReadReport, is_one_a_line
from storage.folders import Walk

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
            found = sorted(
                folder / name
                for folder, names in Walk(path).folders()
                for name in names
                if name.endswith(TEXT_NAMES)
            )
            if not found:
                raise TextError(f"The folder {path} holds no .txt or .txt.gz.")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise TextError(f"There is no text at {path}.")


def read_sentences(
    path: Path, reading: Reading = AS_IT_IS, report: ReadReport | None = None
) -> Iterator[list[str]]:
    """Yield the words of each sentence of a UTF-8 file, gzip by name.

    reading: what a sentence is and how it is spelled. Blank lines are left out. (lmplz of KenLM
    counts a blank line as an empty sentence.)
    report: gets what was read, and what spelling changed.

    Raises TextError for a file that is not UTF-8 or not complete, OSError for one that cannot be
    opened.
    """
    report = report or ReadReport(reading)
    by_line = is_by_line(path, reading)
    (report.by_lines if by_line else report.running).append(path.name)
    with opened_text(path) as file:
        for text in file if by_line else _paragraphs(file):
            for sentence in (" ".join(text.split()),) if by_line else sentences(text):
                if words := report.spell(sentence):
                    yield words


def is_by_line(path: Path, reading: Reading) -> bool:
    """Whether each line of a text is read as a sentence. Raises as `read_sentences` does."""
    return is_one_a_line(first_lines(path)) if reading.lines is None else reading.lines


def first_lines(path: Path, count: int = SAMPLE) -> list[str]:
    """The first lines of a text that are not blank. Raises as `read_sentences` does."""
    with opened_text(path) as file:
        return list(islice((line for line in file if line.strip()), count))


def sample_lines(files: Sequence[Path]) -> list[str]:
    """Some lines from the beginning of each text. Raises as `read_sentences` does."""
    count = max(FEWEST, SAMPLE // max(len(files), 1))
    return [line for path in files for line in first_lines(path, count)]


@contextmanager
def opened_text(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text, gzip by name. Raises TextError where it is none, and while it is read."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig")
        ) as file:
            yield file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
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
