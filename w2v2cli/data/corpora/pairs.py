"""Recordings with their texts beside them: `NAME.flac` and `NAME.txt`, in any depth of folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.folders import Walk
from w2v2cli.data.audio import SUFFIXES
from w2v2cli.data.utterance import CorpusError, Utterance, read_lines, speaker_of

# Texts that lie beside recordings without being transcripts, in lower case.
ABOUT = frozenset("readme license licence copying changes changelog notice authors".split())


def has_pairs(names: Iterable[str]) -> bool:
    """Whether a recording and a text of the same name are among the files of a folder."""
    recordings, texts = _stems(names)
    return any(name in recordings for name in texts)


def _stems(names: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The recordings and the texts of a folder by their names without suffix."""
    recordings: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            recordings.setdefault(stem, []).append(name)
        elif suffix.lower() == ".txt":
            texts[stem] = name
    return recordings, texts


def read_pairs(folder: Path) -> Iterator[Utterance]:
    """Read every recording below a folder with the text beside it.

    Ids are paths without suffix. The lines of a text are joined by spaces. Raises CorpusError for
    recordings without a text, texts without a recording (a README is none), a text that is empty,
    and a text with two recordings.
    """
    found: list[tuple[Path, Path]] = []
    bare: list[Path] = []
    lonely: list[Path] = []
    for root, names in Walk(folder).folders():
        recordings, texts = _stems(names)
        for stem, files in recordings.items():
            if stem not in texts:
                bare += [Path(root, name) for name in files]
            elif len(files) > 1:
                raise CorpusError(f"{Path(root, texts[stem])} has two recordings: {files}.")
            else:
                found.append((Path(root, files[0]), Path(root, texts[stem])))
        lonely += [
            Path(root, name)
            for stem, name in texts.items()
            if stem not in recordings and stem.lower() not in ABOUT
        ]
    _refuse(folder, bare, len(found) + len(bare), "recordings have no text")
    _refuse(folder, lonely, len(found) + len(lonely), "texts have no recording")
    for recording, transcript in found:
        name = recording.relative_to(folder).with_suffix("").as_posix()
        text = " ".join(read_lines(transcript))
        yield Utterance(name, recording, text, speaker_of(recording.stem))


def _refuse(folder: Path, alone: list[Path], total: int, fault: str) -> None:
    if alone:
        raise CorpusError(
            f"{folder}: {len(alone)} of {total} {fault} of their name beside them, the first is "
            f"{alone[0]}."
        )
