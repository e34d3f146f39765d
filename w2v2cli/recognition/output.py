"""Files of transcripts: their names, and writing them whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from storage.whole import write_whole
from w2v2cli.data.audio import STDIN, Source
from w2v2cli.errors import UserError


def write_file(path: Path, content: str | bytes) -> None:
    """Write `path` whole, making its folder; text in UTF-8.

    Raises UserError when the system cannot; an old file is then left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None


def output_paths(sources: Iterable[Source], folder: Path, suffix: str) -> dict[Source, Path]:
    """A file in `folder` for each source, named after it.

    Sources of one name are told apart by as many of their parent folders as it takes.
    """
    names: dict[Source, str] = {}
    taken: dict[str, Source] = {}
    for source in sources:
        parts = ("stdin",) if source == STDIN else source.parts
        for depth in range(1, len(parts) + 1):
            stem = "_".join(
                part.strip(os.sep) for part in (*parts[-depth:-1], Path(parts[-1]).stem)
            )
            if stem not in taken:
                break
        else:
            stem = f"{stem}_{len(taken)}"
        taken[stem] = source
        names[source] = f"{stem}.{suffix}"
    return {source: folder / name for source, name in names.items()}
