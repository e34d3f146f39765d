"""Libri-light: long unlabelled recordings, cut where nobody speaks, and the small labelled sets made from LibriSpeech."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from w2v2cli.data.resampling import SAMPLE_RATE
from w2v2cli.data.utterance import CorpusError, Utterance

LONGEST = 60.0  # seconds of a cut: what Libri-light's own cutting aims at
LONGEST_PAUSE = 2.0  # seconds; a cut is one piece of its file, so a longer silence inside it would be learned from
LIMITED = {  # name: folders below librispeech_finetuning
    "librilight-10min": ("1h/0",),
    "librilight-1h": ("1h",),
    "librilight-10h": ("1h", "9h"),
}
LIMITED_FOLDER = "librispeech_finetuning"


def read_librilight(folder: Path, longest: float = LONGEST) -> Iterator[Utterance]:
    """The speech of every `SPEAKER/BOOK/*.flac`, in cuts of at most `longest` seconds; a file without a list of voice
    activity beside it is one utterance.

    Names are `SPEAKER/BOOK/FILE`, with `_0000` and on for the cuts.
    """
    for recording in _flacs(folder):
        name = "/".join(recording.parts[-3:]).removesuffix(".flac")
        description = recording.with_suffix(".json")
        if not description.is_file():
            yield Utterance(
                name, recording, None, recording.parts[-3] if len(recording.parts) > 2 else None
            )
            continue
        speaker, voiced = _description(description)
        for number, (start, end) in enumerate(cuts(voiced, longest)):
            first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
            if last > first:
                yield Utterance(
                    f"{name}_{number:04}",
                    recording,
                    None,
                    speaker,
                    end - start,
                    last - first,
                    start=first,
                )


def _flacs(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".flac"))


def _description(path: Path) -> tuple[str, list[tuple[float, float]]]:
    """The speaker and the voiced stretches in seconds; CorpusError when they are not what Libri-light writes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stretches = [(float(start), float(end)) for start, end in content["voice_activity"]]
        speaker = str(content.get("speaker", path.parts[-3]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise CorpusError(
            f"{path} is no description of Libri-light: it has no voice_activity of [start, end]."
        ) from None
    before = 0.0
    for start, end in stretches:
        if not before <= start <= end < math.inf:
            raise CorpusError(
                f"{path}: the stretch [{start}, {end}] of voice_activity is out of order."
            )
        before = end
    return speaker, stretches


def cuts(
    voiced: Sequence[tuple[float, float]], longest: float = LONGEST
) -> Iterator[tuple[float, float]]:
    """Neighbouring stretches of speech joined to pieces of at most `longest` seconds, pauses included.

    A pause above LONGEST_PAUSE is always a border. A stretch that alone is longer is divided evenly.
    """
    start = end = None
    for onset, offset in voiced:
        if start is None or end is None:
            start, end = onset, offset
        elif offset - start <= longest and onset - end <= LONGEST_PAUSE:
            end = offset
        else:
            yield from _divided(start, end, longest)
            start, end = onset, offset
    if start is not None and end is not None:
        yield from _divided(start, end, longest)


def _divided(start: float, end: float, longest: float) -> Iterator[tuple[float, float]]:
    parts = max(math.ceil((end - start) / longest), 1)
    length = (end - start) / parts
    for part in range(parts):
        yield start + part * length, start + (part + 1) * length


def limited_folders(root: Path, name: str) -> list[Path] | None:
    """The folders of a labelled set (10 minutes, 1 hour, 10 hours) below `root`; None where it does not lie there.

    CorpusError when only a part of it does.
    """
    candidates = (
        root,
        root / LIMITED_FOLDER,
        root / "librilight" / LIMITED_FOLDER,
        root / "LibriLight" / LIMITED_FOLDER,
    )
    base = next((path for path in candidates if (path / "1h" / "0").is_dir()), None)
    if base is None:
        return None
    folders = [base / part for part in LIMITED[name]]
    missing = [folder for folder in folders if not folder.is_dir()]
    if name != "librilight-10min":
        missing += [
            base / "1h" / str(fold) for fold in range(6) if not (base / "1h" / str(fold)).is_dir()
        ]
    if missing:
        raise CorpusError(
            f"{name} is not whole: {missing[0]} is missing; unpack {LIMITED_FOLDER}.tgz again."
        )
    return folders
