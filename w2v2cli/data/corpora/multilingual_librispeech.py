"""Multilingual LibriSpeech: `transcripts.txt` and the recordings below `audio/` beside it.

Source: Pratap et al. 2020 (arXiv 2012.03411).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from storage.folders import Walk
from w2v2cli.data.utterance import (
    CorpusError,
    Utterance,
    audio_beside,
    first_line,
    numbered_lines,
    refuse_repeat,
)

LIST = "transcripts.txt"
LIMITED = "limited_supervision"  # folder of `train` with lists of ten hours of it
HANDLES = "handles.txt"  # ids, one a line


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


def is_limited(path: Path) -> bool:
    """Whether a path is a list of `limited_supervision`, that folder or one below it."""
    return LIMITED in path.absolute().parts and (path.is_dir() or path.name == HANDLES)


def read_limited(path: Path) -> Iterator[Utterance]:
    """Read the utterances of the `handles.txt` that a path is, or of all below a folder.

    Folders of `train/limited_supervision`: `9hr`, `1hr` with six of ten minutes, `0` to `5`. Raises
    CorpusError for ids that the transcripts of `train` do not have.
    """
    split = next(above for above in path.absolute().parents if (above / LIMITED).is_dir())
    lists = [path]
    if path.is_dir():
        lists = [root / HANDLES for root, names in Walk(path).folders() if HANDLES in names]
    if not lists:
        raise CorpusError(f"{path} has no {HANDLES}.")
    if not (split / LIST).is_file():
        raise CorpusError(f"{split} has no {LIST}, of which {lists[0]} lists a part.")
    wanted: dict[str, Path] = {}
    for handles in lists:
        for _, line in numbered_lines(handles):
            wanted.setdefault(line.strip(), handles)
    for utterance in read_multilingual_librispeech(split / LIST):
        if wanted.pop(utterance.id, None) is not None:
            yield utterance
    if wanted:
        name, handles = next(iter(wanted.items()))
        raise CorpusError(
            f"{handles} lists {name}, which is not in {split / LIST}; {len(wanted)} such ids."
        )
