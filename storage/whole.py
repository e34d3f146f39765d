"""Files and folders that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"
# What `_beside` makes. Those of eight digits are of a version that did not lock its files.
UNFINISHED = re.compile(r"\..*\.[0-9a-f]{10}\.part", re.DOTALL)
LONGEST_NAME = 255  # bytes of a file name on common file systems
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a failed write does not name its file


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path`; when the block ends normally it becomes `path`.

    The content reaches the disk before the rename, so a reader, a crash or a power cut sees either
    the old file or the complete new one. When the block raises, `path` stays as it was and nothing
    is left beside it. A process killed in between leaves a hidden file that ends in `.part`; the
    next process that writes to the folder removes it. The block cannot lock the file itself, as its
    lock is held here: see `locked_file`.

    Where `path` is a symbolic link, its target is replaced. A device or a pipe (/dev/stdout) cannot
    be whole or absent and is yielded itself. Permissions follow the umask, as those of a file that
    was opened directly.

    Raises OSError with the name `path`, before the block where a file cannot be there.
    """
    with _errors_name(path):
        target, mode = _target(path)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        yield target
        return
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with _new_file(path, target) as (beside, _):
        yield beside


def locked_file(path: Path, content: bytes = b"") -> int:
    """Make a file whose lock (flock) this process holds from before it appears under its name.

    path: a file or a name without one, no device. Returns the file's descriptor, open for
    appending; closing it lets the lock go. Otherwise as `whole_file`. Raises OSError, also where
    the file system has no locks.
    """
    with _errors_name(path):
        target, _ = _target(path)
    kept = -1
    try:
        with _new_file(path, target, os.O_RDWR | os.O_APPEND) as (_, number):
            kept = os.dup(number)  # a copy shares the lock, which lasts until both are closed
            fcntl.flock(kept, fcntl.LOCK_EX)
            while content:  # one call may write a part of it
                content = content[os.write(kept, content) :]
    except BaseException:
        if kept >= 0:
            os.close(kept)
        raise
    return kept


@contextmanager
def _new_file(path: Path, target: Path, flags: int = os.O_RDONLY) -> Iterator[tuple[Path, int]]:
    """A file beside `target` that becomes it, and the descriptor by which its lock is held.

    path: what errors name. flags: how the descriptor is opened.
    """
    beside = _beside(target)
    with _errors_name(path, beside):
        _sweep_once(target.parent)
        with _held(beside, lambda: beside.touch(0o666, exist_ok=False), flags) as number:
            try:
                yield beside, number
                _flush(beside)
                os.replace(beside, target)
            finally:
                beside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` (text in UTF-8) to `path`, whole or not at all. Raises OSError."""
    with whole_file(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; when the block ends normally it replaces `path`.

    As `whole_file` for a folder, with two differences. While an old folder is being replaced there
    is a moment in which `path` does not exist. Where another process puts its folder there in that
    moment, that folder stays: use this for content that depends on the name alone, such as a cache
    entry.
    """
    with _errors_name(path):
        target, mode = _target(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    beside = _beside(target)
    with _errors_name(path, beside):
        _sweep_once(target.parent)
        with _held(beside, beside.mkdir):
            try:
                yield beside
                for folder, _, names in os.walk(beside):
                    for name in names:
                        _flush(Path(folder, name))
                _replace_folder(beside, target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)


def remove_unfinished(folder: Path, prefix: str = "") -> None:
    """Remove what killed processes left in `folder` of files and folders named `prefix`...

    Only for a folder that no other process writes to at the moment.
    """
    for left in folder.glob(f".{glob.escape(prefix)}*{SUFFIX}"):
        _remove(left)


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            left.unlink()


_swept: set[Path] = set()  # folders in which this process has looked for what others left


def _sweep_once(folder: Path) -> None:
    """Remove what killed processes left in a folder: what nobody holds the lock of."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if UNFINISHED.fullmatch(name):
                _remove_unless_held(folder / name)


def _remove_unless_held(left: Path) -> None:
    with contextlib.suppress(OSError):  # it is held, or the file system has no locks
        number = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(left)
        finally:
            os.close(number)


@contextmanager
def _held(beside: Path, make: Callable[[], None], flags: int = os.O_RDONLY) -> Iterator[int]:
    """Make a file or folder, and hold its lock: by it others see that its writer lives.

    Yields the descriptor that holds it, opened with `flags`.
    """
    number = -1
    while number < 0:
        make()
        with contextlib.suppress(FileNotFoundError):  # removed before we held it
            number = os.open(beside, flags)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(number, fcntl.LOCK_EX)
            if not os.path.exists(beside):
                os.close(number)
                number = -1
    try:
        yield number
    finally:
        os.close(number)


def _target(path: Path) -> tuple[Path, int | None]:
    """`path` with links followed, and the mode of what is there; None where nothing is."""
    target = path.resolve() if path.is_symlink() or path.name in ("", "..") else path
    try:
        return target, target.stat().st_mode
    except FileNotFoundError:
        return target, None


def _replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`, whose old folder goes away; a folder that comes in between stays."""
    for moved in (False, True):
        try:
            os.rename(new, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if moved:
            return
        old = _beside(path)
        with contextlib.suppress(FileNotFoundError):  # another process has just moved it away
            os.rename(path, old)
            shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _errors_name(path: Path, beside: Path | None = None) -> Iterator[None]:
    """Let errors about `beside` name the `path` that was asked for."""
    try:
        yield
    except OSError as error:
        named = error.filename
        unnamed = named is None and error.errno in NO_ROOM
        below = named is not None and beside is not None and beside in (
            Path(os.fsdecode(named)), *Path(os.fsdecode(named)).parents
        )  # fmt: skip
        if not unnamed and not below:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that no other writer has, however long `path.name` is."""
    ending = f".{secrets.token_hex(5)}{SUFFIX}"
    kept = os.fsencode(path.name)[: LONGEST_NAME - len(ending) - 1]
    return path.with_name(f".{kept.decode(errors='ignore')}{ending}")
