"""Common Voice: `train.tsv` and its other lists, with the recordings in `clips/` beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from w2v2cli.data.audio import SUFFIXES
from w2v2cli.data.utterance import (
    CorpusError,
    Utterance,
    audio_beside,
    first_line,
    ids_of,
    numbered_lines,
    refuse_repeat,
)

# The lists of a release that name clips; reported.tsv, clip_durations.tsv and the like do not.
LISTS = tuple(
    f"{name}.tsv" for name in ("train", "dev", "test", "validated", "other", "invalidated")
)
NEEDED = ("path", "sentence")


def is_common_voice(path: Path) -> bool:
    """Whether the first line of a file has the headings `path` and `sentence`."""
    return set(NEEDED) <= set(first_line(path).split("\t"))


def read_common_voice(path: Path) -> Iterator[Utterance]:
    """Read a list of a Common Voice release.

    Its first line names the columns, in any order: `path`, `sentence` and, for the speaker,
    `client_id`. Recordings lie in `clips/`, else beside the list; ids are their names without
    suffix. Raises CorpusError with the number of a malformed line, and for a clip listed twice.
    """
    (_, headings), *lines = numbered_lines(path)
    columns = headings.split("\t")
    seen: dict[str, int] = {}
    rows = []
    for number, line in lines:
        values = line.split("\t")
        row = dict(zip(columns, values, strict=False))
        if len(values) != len(columns) or not row["path"]:
            raise CorpusError(
                f"{path}, line {number} should have {len(columns)} columns, path among them: "
                f"{line[:80]!r}."
            )
        refuse_repeat(seen, row["path"], path, number)
        rows.append(row)
    folder = path.parent / "clips"
    folder = folder if folder.is_dir() else path.parent
    for name, row in zip(ids_of(list(seen)), rows, strict=True):
        yield Utterance(name, _clip(folder, row["path"]), row["sentence"], row.get("client_id"))


def _clip(folder: Path, name: str) -> Path:
    """The recording; the lists of the first releases leave its suffix out."""
    clip = folder / name
    return clip if clip.suffix.lower() in SUFFIXES else audio_beside(folder, name)
