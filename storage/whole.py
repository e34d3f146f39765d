"""Files and folders that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"
LONGEST_NAME = 255  # bytes of a file name on common file systems


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path`; when the block ends normally it becomes `path`.

    The content reaches the disk before the rename, so a reader, a crash or a power cut sees either
    the old file or the complete new one. When the block raises, `path` stays as it was and nothing
    is left beside it. A process killed in between leaves a file that ends in `.part`.

    Permissions follow the umask, as those of a file that was opened directly. Raises OSError.
    """
    beside = _beside(path)
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` (text in UTF-8) to `path`, whole or not at all. Raises OSError."""
    with whole_file(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; when the block ends normally it replaces `path`.

    Where another process puts the same folder there first, its folder stays: use this for content
    that depends on the name alone, such as a cache entry. Raises OSError.
    """
    beside = _beside(path)
    beside.mkdir()
    try:
        yield beside
        shutil.rmtree(path, ignore_errors=True)
        try:
            os.rename(beside, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_unfinished(folder: Path, prefix: str = "") -> None:
    """Remove what killed processes left of the files in `folder` whose names begin with `prefix`.

    Only for a folder that no other process writes to at the moment.
    """
    for left in folder.glob(f".{prefix}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            left.unlink()


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that no other writer has, however long `path.name` is."""
    ending = f".{secrets.token_hex(4)}{SUFFIX}"
    kept = os.fsencode(path.name)[: LONGEST_NAME - len(ending) - 1]
    return path.with_name(f".{kept.decode(errors='ignore')}{ending}")
