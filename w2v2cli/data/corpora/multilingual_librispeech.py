"""Multilingual LibriSpeech: `transcripts.txt` and the recordings below `audio/` beside it.

Source: Pratap et al. 2020 (arXiv 2012.03411).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from w2v2cli.data.utterance import (
    CorpusError,
    Utterance,
    audio_beside,
    first_line,
    numbered_lines,
    refuse_repeat,
)

LIST = "transcripts.txt"


def is_multilingual_librispeech(path: Path) -> bool:
    """Whether a file is a `transcripts.txt` with a tab in its first line and `audio/` beside it."""
    return path.name == LIST and (path.parent / "audio").is_dir() and "\t" in first_line(path)


def read_multilingual_librispeech(path: Path) -> Iterator[Utterance]:
    """Read rows `SPEAKER_BOOK_NUMBER<TAB>TEXT`; recordings are `audio/SPEAKER/BOOK/ID`.

    `segments.txt` is not needed: it tells from where in LibriVox's files the recordings were cut.
    Raises CorpusError with the number of a malformed line, and for an id listed twice.
    """
    seen: dict[str, int] = {}
    for number, line in numbered_lines(path):
        name, _, text = line.partition("\t")
        parts = name.split("_")
        if not text or len(parts) != 3 or not all(parts):
            raise CorpusError(
                f"{path}, line {number} should be SPEAKER_BOOK_NUMBER, a tab and a text: "
                f"{line[:80]!r}."
            )
        refuse_repeat(seen, name, path, number)
        folder = path.parent / "audio" / parts[0] / parts[1]
        yield Utterance(name, audio_beside(folder, name), text, parts[0])
