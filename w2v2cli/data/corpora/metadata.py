"""`metadata.csv` and `metadata.jsonl`: LJSpeech's list, and those of Hugging Face's AudioFolder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from storage.json_text import parsed
from w2v2cli.data.corpora.manifest import RECORDING_KEYS
from w2v2cli.data.utterance import (
    CorpusError,
    Utterance,
    audio_beside,
    first_line,
    ids_of,
    numbered_lines,
    read_whole,
    refuse_repeat,
    speaker_of,
)

LISTS = ("metadata.csv", "metadata.jsonl")
FILE = "file_name"
TEXTS = ("transcription", "text", "sentence", "transcript")  # the first that a list has is read
SPEAKERS = ("speaker_id", "speaker", "client_id")
Row = tuple[int, dict[str, Any]]  # the number of a line, and its values by column


def metadata_reader(path: Path) -> Callable[[Path], Iterator[Utterance]] | None:
    """The reader for a .csv or .jsonl, by its first line; None for one of another kind."""
    line = first_line(path)
    if path.suffix == ".jsonl":
        return read_audiofolder if _lists_files(line) else None
    try:
        headings = next(csv.reader([line.replace("\0", "")]), [])
    except csv.Error:  # a line's end in the middle of it, or a field of megabytes
        headings = []
    if FILE in headings:
        return read_audiofolder
    return read_ljspeech if "|" in line else None


def _lists_files(line: str) -> bool:
    """Whether a line is an object of AudioFolder's, not of a manifest of ours with such a key."""
    try:
        row = parsed(line)
    except ValueError:
        return False
    return isinstance(row, dict) and FILE in row and not set(RECORDING_KEYS) & set(row)


def read_ljspeech(path: Path) -> Iterator[Utterance]:
    """Read rows `ID|TEXT` or `ID|TEXT|NORMALISED`, without headings and without quoting.

    The text is the last column: LJSpeech's third has numbers and abbreviations written as they are
    spoken. Recordings are `wavs/ID` beside the list, or `ID`, with any suffix that can be read.
    Raises CorpusError with the number of a malformed line, and for an id listed twice.
    """
    folder = path.parent / "wavs"
    folder = folder if folder.is_dir() else path.parent
    seen: dict[str, int] = {}
    for number, line in numbered_lines(path):
        name, *texts = line.split("|")
        if not name or len(texts) not in (1, 2):
            raise CorpusError(
                f"{path}, line {number} should be an id and one or two texts between |: "
                f"{line[:80]!r}."
            )
        refuse_repeat(seen, name, path, number)
        yield Utterance(name, audio_beside(folder, name), texts[-1], speaker_of(name))


def read_audiofolder(path: Path) -> Iterator[Utterance]:
    """Read AudioFolder's list: CSV with headings, or one JSON object per line.

    `file_name` is relative to the list's folder; ids are these names without suffix. The text is
    the first of TEXTS that the list has, the speaker the first of SPEAKERS. Raises CorpusError with
    the number of a malformed line, and for a file listed twice.
    """
    rows = list(_json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path))
    seen: dict[str, int] = {}
    for number, row in rows:
        name = row.get(FILE)
        if not isinstance(name, str) or not name:
            raise CorpusError(f"{path}, line {number} names no recording ({FILE}).")
        refuse_repeat(seen, name, path, number)
    for identity, (number, row) in zip(ids_of(list(seen)), rows, strict=True):
        text, speaker = _first(row, TEXTS), _first(row, SPEAKERS)
        if text is not None and not isinstance(text, str):
            raise CorpusError(f"{path}, line {number}: the text should be a string, got {text!r}.")
        known = speaker_of(identity) if speaker is None else str(speaker)
        yield Utterance(identity, path.parent / row[FILE], text, known)


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _csv_rows(path: Path) -> Iterator[Row]:
    content = csv.reader(io.StringIO(read_whole(path), newline=""), strict=True)
    columns: list[str] | None = None
    number = 1  # a quoted value may have line ends, so that a row takes several lines
    try:
        for values in content:
            if values and columns is None:
                columns = values
            elif values and columns is not None:
                if len(values) != len(columns):
                    raise CorpusError(
                        f"{path}, line {number} should have {len(columns)} columns, as the first "
                        f"has: {','.join(values)[:80]!r}."
                    )
                yield number, dict(zip(columns, values, strict=True))
            number = content.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {number} is not CSV: {error}.") from None


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in numbered_lines(path):
        try:
            row = parsed(line)
        except ValueError as error:
            raise CorpusError(f"{path}, line {number} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise CorpusError(f"{path}, line {number} should be a JSON object: {line[:40]!r}.")
        yield number, row
