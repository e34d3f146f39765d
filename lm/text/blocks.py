"""Texts in blocks of whole lines, each a sentence, as the compiled estimation takes them.

Lines that a reading leaves as they are go by without being taken apart in Python, which is most of
the time that a large text takes.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

from lm.text.reading import AS_IT_IS, Reading, ReadReport
from lm.text.sentences import is_by_line, opened_text, read_sentences

SIZE = 1 << 20  # characters of a block
SEPARATORS = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c not in " \t\n")
APOSTROPHES = (b"''", b" '", b"' ", b"\n'", b"'\n")  # that are not inside a word


def sentence_blocks(path: Path, reading: Reading, report: ReadReport) -> Iterator[bytes]:
    """Yield the sentences of a UTF-8 file, gzip by name, as lines of words between spaces.

    Words and sentences are those of `read_sentences`; blank lines may be among them. The report
    gets what spelling changed, and how the text was read; words and sentences are counted for
    it by whoever takes the blocks.

    Raises TextError and OSError as `read_sentences` does.
    """
    if not is_by_line(path, reading):
        yield from _joined(read_sentences(path, reading, report))
        return
    report.by_lines.append(path.name)
    with opened_text(path) as file:
        while lines := file.readlines(SIZE):
            text = "".join(lines)
            block = text.encode() + b"\n"
            if stays(reading, text, block):
                report.changes.texts += len(lines)
                yield block
            else:
                yield from _joined(report.spell(" ".join(line.split())) for line in lines)


def stays(reading: Reading, text: str, block: bytes) -> bool:
    """Whether a reading leaves lines as they are, but for spaces: false where it is not certain.

    block: the text in UTF-8.
    """
    normalizer = reading.normalizer
    if normalizer == AS_IT_IS.normalizer:
        return reading.letters is None and not any(c in text for c in SEPARATORS)
    letters = string.ascii_lowercase if normalizer.case == "lower" else string.ascii_uppercase
    if normalizer.name == "none" or normalizer.case == "keep" or normalizer.language:
        return False
    kept = f"{letters} \n" + ("'" if normalizer.name == "english" else "")
    if block.translate(None, delete=kept.encode()):
        return False
    return not block.startswith(b"'") and not any(pair in block for pair in APOSTROPHES)


def _joined(sentences: Iterator[list[str]]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for words in sentences:
        held.append(" ".join(words))
        size += len(held[-1])
        if size > SIZE:
            yield "\n".join([*held, ""]).encode()
            held, size = [], 0
    yield "\n".join([*held, ""]).encode()
