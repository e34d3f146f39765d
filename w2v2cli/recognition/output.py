"""Where transcripts go: stdout, or a file for each recording."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from w2v2cli.data.audio import STDIN, Source
from w2v2cli.errors import UserError


def write_file(path: Path, text: str) -> None:
    """Write text as `write_bytes` does, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `path`, beside it first and then renamed; UserError, the old file untouched, when the system cannot."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None


def output_paths(sources: Iterable[Source], folder: Path, suffix: str) -> dict[Source, Path]:
    """A file in `folder` for each source, named like it; two of one name keep apart by as much of their folders as
    it takes."""
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
