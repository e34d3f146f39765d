"""Corpora as they lie on disk: utterances with their recording, text and speaker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.audio import SUFFIXES
from w2v2cli.errors import UserError

LIBRISPEECH_SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")
TABLE = "transcripts.tsv"


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker."""

    id: str
    path: Path
    text: str | None
    """None where nobody wrote it down."""
    speaker: str | None = None
    seconds: float | None = None


class CorpusError(UserError):
    """A corpus that is not there, or not as its kind is written."""


def read_corpus(path: Path) -> list[Utterance]:
    """The utterances of a corpus, in its own order, each with a recording that exists.

    A folder: any tree with `*.trans.txt` (LibriSpeech), or one with `transcripts.tsv` (`id seconds text`). A file: a JSONL
    manifest, or a fairseq `.tsv` with `.wrd` or `.ltr` beside it. CorpusError names what is missing or wrong.
    """
    reader = _reader(path)
    utterances = list(reader(path))
    if not utterances:
        raise CorpusError(f"{path} lists no utterance.")
    missing = [u.path for u in utterances if not u.path.is_file()]
    if missing:
        raise CorpusError(f"{path}: {len(missing)} of {len(utterances)} recordings are missing, {missing[0]} first.")
    return utterances


def _reader(path: Path) -> Callable[[Path], Iterator[Utterance]]:
    if path.is_dir():
        if (path / TABLE).is_file():
            return _table
        if next(path.rglob("*.trans.txt"), None):
            return _librispeech
        raise CorpusError(f"{path} holds neither *.trans.txt files (LibriSpeech) nor a {TABLE}.")
    if not path.is_file():
        raise CorpusError(f"There is no corpus at {path}.")
    if path.suffix in (".jsonl", ".json"):
        return _jsonl
    if path.suffix == ".tsv":
        return _table_file if _lines(path)[0].split("\t")[:1] == ["id"] else _fairseq
    raise CorpusError(f"{path} is no corpus: a folder, a .jsonl or a .tsv is.")


def _librispeech(folder: Path) -> Iterator[Utterance]:
    for listing in sorted(folder.rglob("*.trans.txt")):
        for number, line in enumerate(_lines(listing), 1):
            name, _, text = line.partition(" ")
            if not text:
                raise CorpusError(f"{listing}, line {number} should be an id and a text: {line!r}.")
            yield Utterance(name, _audio(listing.parent, name), text, name.split("-")[0])


def _table(folder: Path) -> Iterator[Utterance]:
    return _table_file(folder / TABLE)


def _table_file(path: Path) -> Iterator[Utterance]:
    for number, line in enumerate(_lines(path)[1:], 2):
        values = line.split("\t")
        if len(values) != 3:
            raise CorpusError(f"{path}, line {number} should be id, seconds and text: {line!r}.")
        name, seconds, text = values
        yield Utterance(name, _audio(path.parent, name), text, _speaker(name), float(seconds))


def _fairseq(path: Path) -> Iterator[Utterance]:
    """The root folder on the first line, then `path<TAB>samples`; words or letters beside, line by line."""
    root, *rows = _lines(path)
    texts: list[str | None] = [None] * len(rows)
    for suffix, read in ((".wrd", str), (".ltr", _from_letters)):
        beside = path.with_suffix(suffix)
        if beside.is_file():
            labels = _lines(beside)
            if len(labels) != len(rows):
                raise CorpusError(f"{path} lists {len(rows)} recordings, but {beside} has {len(labels)} lines.")
            texts = [read(label) for label in labels]
            break
    for row, text in zip(rows, texts, strict=True):
        name, _, samples = row.partition("\t")
        if not samples.isdigit():
            raise CorpusError(f"{path}: {row!r} should be a path and a number of samples.")
        recording = Path(root) / name
        yield Utterance(recording.stem, recording, text, _speaker(recording.stem), int(samples) / 16_000)


def _from_letters(letters: str) -> str:
    return " ".join(letters.replace(" ", "").replace("|", " ").split())


def _jsonl(path: Path) -> Iterator[Utterance]:
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}, line {number} is no JSON: {error}.") from None
        name = next((row[key] for key in ("audio_filepath", "audio", "path") if row.get(key)), None)
        if name is None:
            raise CorpusError(f"{path}, line {number} names no recording (audio_filepath, audio or path).")
        recording = path.parent / name  # an absolute name stays what it is
        identity = str(row.get("id", recording.stem))
        speaker = str(row["speaker"]) if "speaker" in row else _speaker(identity)
        yield Utterance(identity, recording, row.get("text"), speaker, row.get("duration"))


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is no UTF-8 text.") from None
    if not lines:
        raise CorpusError(f"{path} is empty.")
    return lines


def _speaker(name: str) -> str | None:
    """The speaker in a LibriSpeech id (SPEAKER-CHAPTER-NUMBER)."""
    parts = name.split("-")
    return parts[0] if len(parts) == 3 and parts[0].isdigit() else None


def _audio(folder: Path, name: str) -> Path:
    """The recording of that name, FLAC first; the FLAC's path when there is none, for the error to name."""
    candidates = (folder / f"{name}{suffix}" for suffix in (".flac", ".wav", *sorted(SUFFIXES - {".flac", ".wav"})))
    return next((path for path in candidates if path.is_file()), folder / f"{name}.flac")
