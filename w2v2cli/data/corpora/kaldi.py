"""Kaldi's data directories: `wav.scp`, and beside it `segments`, `text` and `utt2spk`.

Source: Kaldi's documentation, "Data preparation", and its utils/validate_data_dir.sh.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from models.config import SAMPLE_RATE
from storage.folders import is_file
from w2v2cli.data.utterance import (
    LONGEST,
    CorpusError,
    Utterance,
    numbered_lines,
    refuse_repeat,
    trimmed_to_files,
)

LIST = "wav.scp"
TO_THE_END = -1.0  # a segment's end that stands for the end of its recording
LEVELS = 3  # folders above the directory in which relative paths are looked for
Table = dict[str, tuple[int, str]]  # the number of a line and what follows its id, by id


def read_kaldi(path: Path) -> Iterator[Utterance]:
    """Read the data directory of a `wav.scp`.

    Utterances are the rows of `segments`, or of `wav.scp` where there is none. Texts come from
    `text`, speakers from `utt2spk`; without these files they are None. As Kaldi's own check does,
    this refuses lists that do not fit each other. Raises CorpusError.
    """
    folder = path.parent
    recordings = {
        name: _recording(row, name, number, path) for name, (number, row) in _table(path).items()
    }
    segments = folder / "segments"
    if segments.is_file():
        cuts = list(_segments(segments, recordings))
    else:
        cuts = [(name, recording, 0, None) for name, recording in recordings.items()]
    names = {name for name, *_ in cuts}
    texts, speakers = (_column(folder / table, names) for table in ("text", "utt2spk"))
    utterances = [
        Utterance(
            name,
            recording,
            texts.get(name),
            speakers.get(name),
            None if samples is None else samples / SAMPLE_RATE,
            samples,
            start,
        )
        for name, recording, start, samples in cuts
    ]
    yield from trimmed_to_files(utterances)


def _table(path: Path) -> Table:
    """Rows `id rest`, separated by spaces or tabs; the rest as it is written."""
    seen: dict[str, int] = {}
    found = {}
    for number, line in numbered_lines(path):
        name, *rest = re.split(r"[ \t]+", line.lstrip(" \t"), maxsplit=1)
        refuse_repeat(seen, name, path, number)
        found[name] = number, "".join(rest)
    return found


def _recording(row: str, name: str, number: int, path: Path) -> Path:
    where, row = f"{path}, line {number}", row.strip()
    if not row:
        raise CorpusError(f"{where}: {name} has no file.")
    if row.startswith("|") or row.endswith("|"):
        raise CorpusError(
            f"{where}: {name} is a command ({row[:60]}), which w2v2 does not run: write its output "
            "to a file and name that."
        )
    # Kaldi's recipes name files relative to the folder in which they run.
    above = [
        folder for _, folder in zip(range(LEVELS), path.parent.absolute().parents, strict=False)
    ]
    candidates = [folder / row for folder in (path.parent, *above, Path())]
    found = next((file for file in candidates if is_file(file)), None)
    if found is None and re.search(r":\d+$", row):
        raise CorpusError(
            f"{where}: {name} is a place in an archive ({row}), which w2v2 does not read: write "
            "the recordings to files."
        )
    return found or path.parent / row


def _segments(
    path: Path, recordings: dict[str, Path]
) -> Iterator[tuple[str, Path, int, int | None]]:
    """Id, recording, first sample and number of samples of each row of `segments`."""
    used = set()
    for name, (number, row) in _table(path).items():
        where = f"{path}, line {number}"
        recording, *times = row.split()[:4] or [""]
        if len(times) == 3:
            raise CorpusError(
                f"{where}: {name} takes one channel ({times[2]}); w2v2 averages all channels: "
                "write the channels to files of their own."
            )
        try:
            start, end = map(float, times)
            first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        except (ValueError, OverflowError):  # also for nan and inf
            raise CorpusError(
                f"{where} should be an id, a recording, a start and an end in seconds: "
                f"{f'{name} {row}'[:80]!r}."
            ) from None
        if recording not in recordings:
            raise CorpusError(f"{where}: the recording {recording} is not in {LIST}.")
        ends = end == TO_THE_END or first < last < LONGEST * SAMPLE_RATE
        if not (0 <= start < LONGEST and ends):
            raise CorpusError(f"{where}: {name} should end after it starts, got {start} to {end}.")
        used.add(recording)
        yield name, recordings[recording], first, None if end == TO_THE_END else last - first
    _complete(used, recordings, path, "recordings in wav.scp")


def _column(path: Path, names: Collection[str]) -> dict[str, str]:
    """What `text` or `utt2spk` says of each utterance; empty where there is no such file."""
    if not path.is_file():
        return {}
    table = _table(path)
    _complete(table, names, path, "utterances")
    _complete(names, table, path, "lines", "name no utterance")
    return {name: rest for name, (_, rest) in table.items()}


def _complete(
    there: Collection[str],
    needed: Collection[str],
    path: Path,
    what: str,
    fault: str = "are not in it",
) -> None:
    missing = [name for name in needed if name not in there]
    if missing:
        raise CorpusError(
            f"{path}: {len(missing)} of {len(needed)} {what} {fault}, the first is {min(missing)}."
        )
