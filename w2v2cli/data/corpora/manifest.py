"""Lists of recordings in one file: our JSONL, and fairseq's `.tsv` with `.wrd` or `.ltr` beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from w2v2cli.data.resampling import SAMPLE_RATE
from w2v2cli.data.utterance import CorpusError, Utterance, read_lines, speaker_of
from w2v2cli.errors import UserError


def read_jsonl(path: Path) -> Iterator[Utterance]:
    """One JSON object a line: `audio_filepath` (also `audio`, `path`), relative to the file or absolute; the rest may miss.

    `id`, `text`, `speaker`, `duration` (seconds), `samples` (at 16 kHz), `start` (of a cut, likewise), `phones` (in one
    string). CorpusError names the line that is wrong.
    """
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{where} is no JSON: {error}.") from None
        if not isinstance(row, dict):
            raise CorpusError(f"{where} should be an object in braces: {line[:40]!r}.")
        name = next((row[key] for key in ("audio_filepath", "audio", "path") if row.get(key)), None)
        if name is None:
            raise CorpusError(f"{where} names no recording (audio_filepath, audio or path).")
        recording = path.parent / str(name)  # an absolute name stays what it is
        identity = str(row.get("id", recording.stem))
        speaker = str(row["speaker"]) if row.get("speaker") is not None else speaker_of(identity)
        samples, start = _count(row, "samples", where), _count(row, "start", where) or 0
        seconds = _number(row, "duration", where)
        if seconds is None and samples is not None:
            seconds = samples / SAMPLE_RATE
        phones = tuple(str(row["phones"]).split()) if row.get("phones") else None
        yield Utterance(
            identity, recording, row.get("text"), speaker, seconds, samples, start, phones
        )


def _count(row: dict[str, Any], key: str, where: str) -> int | None:
    value = row.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise CorpusError(f"{where}: {key} should be a number of samples, got {value!r}.")
    return value


def _number(row: dict[str, Any], key: str, where: str) -> float | None:
    value = row.get(key)
    if value is not None and (
        not isinstance(value, int | float) or isinstance(value, bool) or value < 0
    ):
        raise CorpusError(f"{where}: {key} should be seconds, got {value!r}.")
    return value


def read_fairseq(path: Path) -> Iterator[Utterance]:
    """The root folder on the first line, then `path<TAB>samples`; words or letters beside, line by line.

    The samples are taken at their word: fairseq reads nothing but 16 kHz.
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
    for row, text in zip(rows, texts, strict=True):
        name, _, samples = row.partition("\t")
        if not samples.isdigit():
            raise CorpusError(f"{path}: {row!r} should be a path and a number of samples.")
        recording = Path(root) / name
        identity, count = recording.stem, int(samples)
        yield Utterance(identity, recording, text, speaker_of(identity), count / SAMPLE_RATE, count)


def _from_letters(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def write_jsonl(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """One object a line, whole or not at all."""
    _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def write_fairseq(utterances: Sequence[Utterance], path: Path) -> None:
    """A `.tsv` of recordings, with `.wrd` and `.ltr` beside it where every utterance has a text.

    Needs lengths at the files' own 16 kHz; ValueError for a cut or an unknown length, which the format cannot say.
    """
    for utterance in utterances:
        if utterance.samples is None or utterance.start:
            raise ValueError(
                f"A fairseq manifest lists whole files of known length, which {utterance.id} is not."
            )
    paths = [u.path.resolve() for u in utterances]
    root = Path(os.path.commonpath([recording.parent for recording in paths]))
    rows = (f"{p.relative_to(root)}\t{u.samples}" for p, u in zip(paths, utterances, strict=True))
    _write(path, [str(root), *rows])
    texts = [u.text for u in utterances if u.text]
    if texts and len(texts) == len(utterances):
        _write(path.with_suffix(".wrd"), texts)
        _write(
            path.with_suffix(".ltr"), (" ".join("|".join([*text.split(), ""])) for text in texts)
        )


def _write(path: Path, lines: Iterable[str]) -> None:
    """Lines to a file beside, which then takes the name; UserError, the old file untouched, when the system cannot."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
