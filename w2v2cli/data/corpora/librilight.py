"""Libri-light: long unlabelled recordings cut in pauses, and its small labelled sets.

Source: Kahn et al. 2020 (arXiv 1912.07875) and its `cut_by_vad.py`, which wav2vec 2.0 follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.config import SAMPLE_RATE
from storage.folders import Walk
from storage.json_text import parsed
from w2v2cli.data.utterance import CorpusError, Utterance

LONGEST = 60.0  # seconds of a cut: the target of Libri-light's own cutting
LONGEST_PAUSE = 2.0  # seconds; a cut is one piece of its file, silence included
LIMITED = {  # name: folders below librispeech_finetuning
    "librilight-10min": ("1h/0",),
    "librilight-1h": ("1h",),
    "librilight-10h": ("1h", "9h"),
}
LIMITED_FOLDER = "librispeech_finetuning"


def read_librilight(folder: Path) -> Iterator[Utterance]:
    """Read the speech of every `SPEAKER/BOOK/FILE.flac` in cuts of at most LONGEST seconds.

    The stretches of speech come from FILE.json beside it (`voice_activity`); a recording without
    that file is one utterance. Ids are `SPEAKER/BOOK/FILE`, with `_0000`, `_0001`, … for cuts.
    Raises CorpusError for a FILE.json that is not as Libri-light writes it.
    """
    for recording in _flacs(folder):
        name = "/".join(recording.parts[-3:]).removesuffix(".flac")
        description = recording.with_suffix(".json")
        if not description.is_file():
            speaker = recording.parts[-3] if len(recording.parts) > 2 else None
            yield Utterance(name, recording, None, speaker)
            continue
        speaker, voiced = _description(description)
        for number, (start, end) in enumerate(cuts(voiced, LONGEST)):
            first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
            if last > first:
                yield Utterance(
                    f"{name}_{number:04}",
                    recording,
                    None,
                    speaker,
                    seconds=end - start,
                    samples=last - first,
                    start=first,
                )


def _flacs(folder: Path) -> Iterator[Path]:
    for root, names in Walk(folder).folders():
        yield from (root / name for name in names if name.endswith(".flac"))


def _description(path: Path) -> tuple[str, list[tuple[float, float]]]:
    """The speaker, and the stretches of speech as (start, end) in seconds."""
    try:
        content = parsed(path.read_text(encoding="utf-8"))
        stretches = [(float(start), float(end)) for start, end in content["voice_activity"]]
        speaker = str(content.get("speaker", path.parts[-3]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise CorpusError(
            f"{path} is not a description of Libri-light: it needs voice_activity, a list of "
            "[start, end]."
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
    """Join neighbouring stretches of speech to cuts of at most `longest` seconds, pauses included.

    voiced: (start, end) of each stretch in seconds, in order. A pause above LONGEST_PAUSE is
    always a border. A stretch that alone is longer than `longest` is divided evenly.
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
    """The folders of a labelled set (a key of LIMITED) below `root`; None where it is not there.

    Raises CorpusError where only a part of the set is there.
    """
    above = ("", LIMITED_FOLDER, f"librilight/{LIMITED_FOLDER}", f"LibriLight/{LIMITED_FOLDER}")
    candidates = (root / folder for folder in above)
    base = next((path for path in candidates if (path / "1h" / "0").is_dir()), None)
    if base is None:
        return None
    folders = [base / part for part in LIMITED[name]]
    expected = list(folders)
    if name != "librilight-10min":  # the hour is six folds of ten minutes
        expected += [base / "1h" / str(fold) for fold in range(6)]
    missing = [folder for folder in expected if not folder.is_dir()]
    if missing:
        raise CorpusError(
            f"{name} is incomplete: {missing[0]} is missing; unpack {LIMITED_FOLDER}.tgz again."
        )
    return folders
