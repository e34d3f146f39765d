"""Files written whole, with a sentence where that fails."""

from __future__ import annotations

from pathlib import Path

from storage.whole import write_whole
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
