"""ARPA files: n-gram models as text, gzip by name.

The format is that of SRILM (ngram-format): a header with the number of n-grams of each order, then
a section for each order with lines `log10 probability<TAB>words[<TAB>log10 backoff]`.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from lm.language_model import UNK, LanguageModelError
from lm.ngram.kneser_ney import BOS, EOS, BackoffModel, BackoffOrder
from storage.pointers import NOT_FETCHED, is_pointer
from storage.whole import whole_file

SPECIALS = frozenset(["<s>", "</s>", UNK, UNK.upper()])  # entries of a model that are no words
BLOCK = 100_000  # n-grams formatted at a time
GZIP_LEVEL = 6
BLANK = " \t\r\n"  # characters around what a line says
SEPARATOR = re.compile("[ \t]")
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?|inf|Inf|infinity)", re.ASCII)
UNPACKED, TAIL = 1 << 20, 64  # bytes read at a time, and those that a file's end is among

Ngram = tuple[float, tuple[str, ...], float]
"""log10 probability, words, log10 backoff (0 where there is none)."""


class ArpaError(ValueError):
    """A file that is not a complete ARPA model."""


def write_arpa(model: BackoffModel, path: Path) -> None:
    """Write `path`, gzip by name, whole or not at all. Raises OSError."""
    with arpa_file(path, [len(order.words) for order in model.orders]) as file:
        for n, order in enumerate(model.orders, 1):
            file.write(f"\n\\{n}-grams:\n".encode())
            for lines in _lines(model.vocabulary, order, highest=n == len(model.orders)):
                file.write(lines.encode())


@contextmanager
def arpa_file(path: Path, sizes: Sequence[int]) -> Iterator[BinaryIO]:
    """An ARPA file for the sections of its n-grams; its header and end are written here.

    path: gzip by name; the file is there whole or not at all. sizes: n-grams of each order.
    Raises OSError.
    """
    with whole_file(path) as beside, beside.open("wb") as raw:
        # No name and no time in the header: the same model gives the same bytes.
        zipped = path.suffix == ".gz"
        file = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if zipped else raw
        counts = "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, 1))
        file.write(f"\\data\\\n{counts}".encode())
        yield cast(BinaryIO, file)
        file.write(b"\n\\end\\\n")
        if zipped:
            file.close()


def _lines(vocabulary: tuple[str, ...], order: BackoffOrder, highest: bool) -> Iterator[str]:
    """The lines of one order, in blocks; those of the highest order have no backoff."""
    names = np.array(vocabulary, dtype=object)
    for begin in range(0, len(order.words), BLOCK):
        block = slice(begin, begin + BLOCK)
        words = map(" ".join, names[order.words[block]].tolist())
        scores = order.log_prob[block].tolist()
        if highest:
            yield "".join(itertools.starmap("{:.7g}\t{}\n".format, zip(scores, words, strict=True)))
        else:
            rows = zip(scores, words, order.backoff[block].tolist(), strict=True)
            yield "".join(itertools.starmap("{:.7g}\t{}\t{:.7g}\n".format, rows))


@contextmanager
def open_arpa(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open an ARPA file as text, after a byte order mark as Windows writes it.

    Raises ArpaError where gzip or the encoding is broken.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="\n") as file
        ):
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ArpaError(f"{path} is cut short or damaged: {error}.") from None


def read_counts(path: Path) -> list[int]:
    """The number of n-grams of each order, from the header. Raises ArpaError."""
    with open_arpa(path) as file:
        return _header(file, path)


def check_end(path: Path) -> None:
    """Raise ArpaError where a file does not end as ARPA files do; gzip is unpacked to the end."""
    with open_arpa(path) as text:
        file, tail = cast(BinaryIO, text.buffer), b""
        if path.suffix != ".gz":
            file.seek(max(path.stat().st_size - TAIL, 0))
        while block := file.read(UNPACKED):
            tail = (tail + block)[-TAIL:]
    if is_pointer(path):
        raise ArpaError(f"{path} {NOT_FETCHED}.")
    if not tail.rstrip().endswith(b"\\end\\"):
        raise ArpaError(f"{path} does not end with \\end\\: it is cut short.")


def read_unigrams(path: Path) -> list[str]:
    """The words of a model, without <s>, </s> and <unk>. Raises ArpaError as `unigrams` does."""
    return list(unigrams(path))


def unigrams(path: Path) -> Iterator[str]:
    """Yield the words of a model, without <s>, </s> and <unk>.

    Raises ArpaError when the file is cut short within them or its header is wrong.
    """
    with open_arpa(path) as file:
        counts = _header(file, path)
        for _, (word,), _ in _section(file, path, 1, counts[0]):
            if word not in SPECIALS:
                yield word


def read_ngrams(path: Path) -> Iterator[Ngram]:
    """Yield every n-gram in the file's order.

    Raises ArpaError where the file is not a complete model, at its end if it is cut short there.
    """
    with open_arpa(path) as file:
        counts = _header(file, path)
        for n, count in enumerate(counts, 1):
            yield from _section(file, path, n, count)
        if next((line for line in file if line.strip(BLANK)), "").strip(BLANK) != "\\end\\":
            raise ArpaError(f"{path} does not end with \\end\\: it is cut short.")


@dataclass(frozen=True)
class NumberedNgrams:
    """The n-grams of a model of sentences, in its file's order."""

    numbers: dict[str, int]
    """The number of each word; <unk> stands for <UNK> too."""
    grams: tuple[np.ndarray, ...]
    """For each order n, (M, n) int32 words."""
    figures: tuple[np.ndarray, ...]
    """For each order, (M, 2) float64 log10 probability and backoff, 0 where there is none."""


def read_numbered(path: Path, first: Sequence[str] = ()) -> NumberedNgrams:
    """Read every n-gram as numbers, about 4 n + 16 bytes each.

    first: words that are numbered before those of the file, whether it has them or not.
    Raises LanguageModelError for a file that is not a complete model of sentences.
    """
    numbers, listed = {word: number for number, word in enumerate(first)}, set()
    try:
        orders = len(read_counts(path))
        grams = [array("i") for _ in range(orders)]
        figures = [array("d") for _ in range(orders)]
        for log_prob, words, backoff in read_ngrams(path):
            if UNK.upper() in words:
                words = tuple([UNK if word == UNK.upper() else word for word in words])
            if len(words) == 1:
                if words[0] in listed:
                    raise ArpaError(f"{path} has the word {words[0]!r} twice.")
                listed.add(words[0])
                numbers.setdefault(words[0], len(numbers))
            grams[len(words) - 1].extend([numbers[word] for word in words])
            figures[len(words) - 1].extend((log_prob, backoff))
    except KeyError as error:
        raise LanguageModelError(
            f"{path} has an n-gram with the word {error.args[0]!r}, which is not in its unigrams."
        ) from None
    except ValueError as error:
        raise LanguageModelError(str(error)) from None
    for special in (BOS, EOS):
        if special not in numbers:
            raise LanguageModelError(
                f"{path} has no {special} in its unigrams: it is not a model of sentences."
            )
    return NumberedNgrams(
        numbers,
        tuple(np.frombuffer(row, np.int32).reshape(-1, n) for n, row in enumerate(grams, 1)),
        tuple(np.frombuffer(row, np.float64).reshape(-1, 2) for row in figures),
    )


def has_unknown(path: Path) -> bool:
    """Whether the model gives unknown words a probability: it has <unk>. Raises ArpaError."""
    with open_arpa(path) as file:
        counts = _header(file, path)
        return any(word.lower() == UNK for _, (word,), _ in _section(file, path, 1, counts[0]))


def _header(file: IO[str], path: Path) -> list[int]:
    lines = (line.strip(BLANK) for line in file)
    if next((line for line in lines if line and line[0] != "#"), "") != "\\data\\":
        raise ArpaError(f"{path} is not an ARPA file: it does not begin with \\data\\.")
    counts: list[int] = []
    for line in file:
        if not line.strip(BLANK):
            break
        match = re.fullmatch(r"ngram (\d+)\s*=\s*(\d+)", line.strip(BLANK))
        if match is None or int(match[1]) != len(counts) + 1:
            raise ArpaError(f"{path} has a wrong line in its header: {line.strip(BLANK)!r}.")
        counts.append(int(match[2]))
    if not counts:
        raise ArpaError(f"{path} is cut short: its header names no n-grams.")
    return counts


def _section(file: IO[str], path: Path, n: int, count: int) -> Iterator[Ngram]:
    """The `count` n-grams of n words; blank lines between them are passed over, as by KenLM."""
    heading = next((line for line in file if line.strip(BLANK)), "").strip(BLANK)
    if heading != f"\\{n}-grams:":
        raise ArpaError(
            f"{path} should continue with \\{n}-grams: but has {heading[:40]!r}: "
            "its counts are wrong."
        )
    for i in range(count):
        line = next((line for line in file if line.strip(BLANK)), "").rstrip("\r\n")
        parsed = _ngram(line, n)
        if parsed is None:
            raise ArpaError(
                f"{path} promises {count} {n}-grams, but line {i + 1} of them is {line[:40]!r}."
            )
        if not parsed[0] <= 0:
            raise ArpaError(f"{path} has a log-probability above 0: {line[:40]!r}.")
        yield parsed


def _ngram(line: str, n: int) -> Ngram | None:
    """What a line of n words says; None where it is none. The compiled reader takes the same."""
    probability, *words = SEPARATOR.split(line, n + 1)
    backoff = words.pop().strip(BLANK) if len(words) > n else ""
    if len(words) != n or not all(words) or not NUMBER.fullmatch(probability):
        return None
    if backoff and not NUMBER.fullmatch(backoff):
        return None
    return float(probability), tuple(words), float(backoff or 0)
