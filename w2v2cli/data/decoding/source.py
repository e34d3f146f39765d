"""Where the bytes of a recording come from: a file, a pipe or stdin."""

from __future__ import annotations

import errno
import glob
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from w2v2cli.data.decoding.tables import TableError, cell_of, read_cell
from w2v2cli.errors import UserError

Source = Path  # a file, a row of a table (`tables`), or STDIN
STDIN = Path("-")
SUFFIXES = frozenset(
    [".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"]
    + [".aiff", ".aif", ".aifc", ".au", ".caf", ".sph"]
    + [".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".webm", ".mkv", ".mka"]
    + [".aac", ".ac3", ".amr", ".wma"]
)
VIDEOS = frozenset([".mp4", ".mov", ".3gp", ".webm", ".mkv"])  # in which sound may be beside
SPOOL_BYTES = 64 * 2**20  # of a pipe kept in memory; the rest goes to a temporary file


class AudioError(UserError):
    """A recording that cannot be read, or not to its end."""


class CutShort(AudioError):
    """A recording that was read up to where it breaks off, or ends before its header says."""


def name_of(source: Source) -> str:
    """The name of a recording in messages."""
    return "stdin" if source == STDIN else str(source)


@contextmanager
def opened_bytes(source: Source) -> Iterator[IO[bytes]]:
    """A recording's bytes from the first on, in a stream that can seek. Raises AudioError."""
    cell = cell_of(source)
    if cell is not None:
        try:
            yield io.BytesIO(read_cell(cell))
        except TableError as error:
            raise AudioError(str(error)) from None
        return
    with opened_pipe(source) as stream:
        if source == STDIN or not stream.seekable():  # a named pipe, or a shell's <(...)
            with _spooled(stream, name_of(source)) as spool:
                yield spool
            return
        if not stream.read(1):
            raise AudioError(f"{source} is an empty file.")
        stream.seek(0)
        yield stream


@contextmanager
def opened_pipe(source: Source) -> Iterator[IO[bytes]]:
    """The bytes of stdin, a pipe or a file as they come; not all can seek. Raises AudioError."""
    if source == STDIN:
        if sys.stdin is None:  # closed by the process that started us
            raise AudioError("Nothing came in on stdin.")
        yield sys.stdin.buffer
        return
    try:
        if os.path.isdir(source):
            os.listdir(source)
            known = " ".join(sorted(SUFFIXES))
            raise AudioError(f"The folder {source} holds no recordings (looked for {known}).")
        stream = source.open("rb", buffering=0)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and glob.has_magic(str(source)):
            raise AudioError(f"Nothing fits the pattern {source}.") from None
        raise AudioError(f"{source} cannot be opened: {error.strerror}.") from None
    with stream:
        yield stream


@contextmanager
def _spooled(pipe: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """The whole output of a pipe, in memory or in a temporary file."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        try:
            shutil.copyfileobj(pipe, spool)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise AudioError(f"{name} cannot be read: {error.strerror}.") from None
            place = tempfile.gettempdir()
            raise AudioError(
                f"{name} does not fit into {place}: the disk is full; set TMPDIR to another folder."
            ) from None
        if not spool.tell():
            raise AudioError(f"Nothing came in on {name}.")
        spool.seek(0)
        yield spool
