"""Manifests: our JSONL, NeMo's, and fairseq's `.tsv` with a `.wrd` or `.ltr` beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models.config import SAMPLE_RATE
from storage.json_text import is_text, parsed, written
from storage.whole import whole_file
from w2v2cli.data.utterance import (
    LONGEST,
    CorpusError,
    Utterance,
    numbered_lines,
    read_lines,
    speaker_of,
    told_apart,
    trimmed_to_files,
)
from w2v2cli.errors import UserError

RECORDING_KEYS = ("audio_filepath", "audio", "path")  # the first that a row has names the file
DIGITS = 14  # of a number of samples, at most
Row = tuple[int, dict[str, Any]]  # the number of a line, and its object


def read_jsonl(path: Path) -> Iterator[Utterance]:
    """Read a manifest with one JSON object per line: ours, or NeMo's.

    A row needs `audio_filepath` (or `audio`, or `path`), absolute or relative to the manifest's
    folder. Optional: `id`, `text`, `speaker`, `duration` (seconds), `samples` and `start` (counted
    at 16 kHz), `offset` (seconds; with it `duration` is the length of the cut), `phones` (separated
    by spaces). Other keys are ignored. The default of `id` is the file's name without suffix; where
    several rows would share it, see `told_apart`. Raises CorpusError with the number of the line
    that is wrong.
    """
    rows = list(_rows(path))
    read = [_utterance(row, path.parent, f"{path}, line {number}") for number, row in rows]
    unnamed = [index for index, (_, row) in enumerate(rows) if row.get("id") is None]
    _refuse_repeats(path, rows, read, unnamed)
    named = told_apart(read, unnamed)
    cut = {index for index, (_, row) in enumerate(rows) if row.get("offset") is not None}
    trimmed = iter(trimmed_to_files([named[index] for index in sorted(cut)]))
    for index, utterance in enumerate(named):
        yield next(trimmed) if index in cut else utterance


def _rows(path: Path) -> Iterator[Row]:
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            row = parsed(line)
        except ValueError as error:
            raise CorpusError(f"{where} is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise CorpusError(f"{where} should be a JSON object: {line[:40]!r}.")
        yield number, row


def _utterance(row: dict[str, Any], folder: Path, where: str) -> Utterance:
    name = next((_named(row, key, where) for key in RECORDING_KEYS if row.get(key)), None)
    if name is None:
        raise CorpusError(f"{where} names no recording ({' or '.join(RECORDING_KEYS)}).")
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise CorpusError(f"{where}: text should be a string, got {text!r}.")
    recording = folder / name  # an absolute name stays what it is
    identity = recording.stem if row.get("id") is None else _named(row, "id", where)
    if not identity:
        raise CorpusError(f"{where}: id should be a name, got {row.get('id')!r}.")
    speaker = _named(row, "speaker", where) or speaker_of(identity)
    start, samples = _cut(row, where)
    seconds = _seconds(row, "duration", where)
    if seconds is None and samples is not None:
        seconds = samples / SAMPLE_RATE
    phones = tuple((_named(row, "phones", where) or "").split()) or None
    return Utterance(identity, recording, text, speaker, seconds, samples, start, phones)


def _named(row: dict[str, Any], key: str, where: str) -> str | None:
    """A name in a row, which may be a number there; None where there is none."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise CorpusError(f"{where}: {key} should be a string, got {str(value)[:40]!r}.")
    return None if value is None else str(value)


def _cut(row: dict[str, Any], where: str) -> tuple[int, int | None]:
    """First sample and number of samples, from `start` and `samples` or `offset` and `duration`."""
    samples, start = _count(row, "samples", where), _count(row, "start", where) or 0
    offset = _seconds(row, "offset", where)
    if offset is None:
        return start, samples
    if row.get("start") is not None:
        raise CorpusError(f"{where} has both start and offset: keep one of them.")
    start = round(offset * SAMPLE_RATE)
    duration = _seconds(row, "duration", where)
    if samples is None and duration is not None:
        samples = round((offset + duration) * SAMPLE_RATE) - start
        if not samples:
            raise CorpusError(f"{where}: duration should be above 0, got {duration!r}.")
    return start, samples


def _refuse_repeats(
    path: Path, rows: list[Row], utterances: list[Utterance], unnamed: Sequence[int]
) -> None:
    seen: dict[tuple[Path, int, int | None], int] = {}
    for index in unnamed:
        utterance, number = utterances[index], rows[index][0]
        first = seen.setdefault((utterance.path, utterance.start, utterance.samples), number)
        if first != number:
            raise CorpusError(
                f"{path}, line {number} lists what line {first} lists already, {utterance.path}: "
                "remove one, or give each an id."
            )


def _count(row: dict[str, Any], key: str, where: str) -> int | None:
    value = row.get(key)
    number = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and (not number or not 0 <= value < LONGEST * SAMPLE_RATE):
        raise CorpusError(f"{where}: {key} should be a number of samples, got {value!r}.")
    return value


def _seconds(row: dict[str, Any], key: str, where: str) -> float | None:
    value = row.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and (not number or not 0 <= value < LONGEST):
        raise CorpusError(f"{where}: {key} should be seconds, got {value!r}.")
    return value


def read_fairseq(path: Path) -> Iterator[Utterance]:
    """Read fairseq's manifest: a root folder on the first line, then rows `path<TAB>samples`.

    Transcripts come from a `.wrd` (words) or else a `.ltr` (letters, `|` between words) beside it,
    one line per row. The numbers of samples are trusted: fairseq reads audio at 16 kHz alone. Ids
    are the files' names; where several rows would share one, see `told_apart`. Raises CorpusError
    for a malformed row, or where the numbers of lines differ.
    """
    root, *rows = read_lines(path)
    texts: list[str | None] = [None] * len(rows)
    for suffix, read in ((".wrd", str), (".ltr", _from_letters)):
        beside = path.with_suffix(suffix)
        if beside.is_file():
            labels = read_lines(beside)
            if len(labels) != len(rows):
                raise CorpusError(
                    f"{path} lists {len(rows)} recordings, but {beside} has {len(labels)} lines."
                )
            texts = [read(label) for label in labels]
            break
    found = []
    for row, text in zip(rows, texts, strict=True):
        name, _, samples = row.partition("\t")
        if not samples.isdecimal() or len(samples) > DIGITS:
            raise CorpusError(f"{path}: {row!r} should be a path and a number of samples.")
        recording = Path(root) / name
        identity, count = recording.stem, int(samples)
        known = speaker_of(identity)
        found.append(Utterance(identity, recording, text, known, count / SAMPLE_RATE, count))
    yield from told_apart(found, range(len(found)))


def _from_letters(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def write_jsonl(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write one object per line, the file whole or not at all. Raises UserError."""
    _write(path, map(written, rows))


def write_fairseq(utterances: Sequence[Utterance], path: Path) -> None:
    """Write a `.tsv`, with `.wrd` and `.ltr` beside it where every utterance has a text.

    The format lists whole files of known length at 16 kHz: ValueError for an utterance that is a
    cut or lacks `samples`. Raises UserError where a file cannot be written.
    """
    for utterance in utterances:
        if utterance.samples is None or utterance.start:
            raise ValueError(
                "A fairseq manifest lists whole files of known length, which "
                f"{utterance.id} is not."
            )
    paths = [u.path.resolve() for u in utterances]
    root = Path(os.path.commonpath([recording.parent for recording in paths]))
    rows = [f"{p.relative_to(root)}\t{u.samples}" for p, u in zip(paths, utterances, strict=True)]
    for line in (str(root), *rows):
        if not is_text(line) or "\n" in line:
            raise UserError(
                f"A fairseq manifest cannot hold the name {line!r}: rename it, or write a .jsonl."
            )
    _write(path, [str(root), *rows])
    texts = [u.text for u in utterances if u.text]
    if texts and len(texts) == len(utterances):
        _write(path.with_suffix(".wrd"), texts)
        letters = (" ".join("|".join([*text.split(), ""])) for text in texts)
        _write(path.with_suffix(".ltr"), letters)


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
