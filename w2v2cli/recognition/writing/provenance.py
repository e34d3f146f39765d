"""Which recording each transcript in an output folder belongs to, remembered between calls.

A record of a folder, in $W2V2_HOME/outputs, names for each transcript the recording's path, size
and time. So a name stays that of one recording whatever else a later call transcribes, and
`--skip-existing` leaves out only what was made from the recording as it is now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from storage.hashing import hash_of
from storage.home import home
from storage.json_text import parsed
from storage.whole import write_whole
from w2v2cli.data.audio import STDIN, Channel, Source

LONGEST_NAME = 255  # bytes of a file name on common file systems
RECORDS = "outputs"  # folder in $W2V2_HOME
Transcribable = Source | Channel  # what a transcript in a folder is of
OfT = TypeVar("OfT", bound=Transcribable)


@dataclass(frozen=True)
class Origin:
    """The recording that a transcript was made from, as it was then."""

    source: str
    """Its absolute path; `-` for stdin."""
    size: int | None
    """Bytes; None for what has no size of its own."""
    modified: int | None
    """Time of its last change, in nanoseconds."""
    pending: bool = False
    """Whether the file that has this name was still an earlier one, to be replaced."""
    channel: int | None = None
    """The channel, from 1 on, that is transcribed; None for all together."""

    @classmethod
    def of(cls, recorded: Transcribable) -> Origin:
        """The origin of a transcript that is about to be made."""
        source = _path(recorded)
        channel = recorded.number if isinstance(recorded, Channel) else None
        if source == STDIN:
            return cls(str(STDIN), None, None, channel=channel)
        try:
            found = os.stat(source)
        except OSError:  # reading it raises the error that says so
            return cls(os.path.abspath(source), None, None, channel=channel)
        modified = found.st_mtime_ns
        return cls(os.path.abspath(source), found.st_size, modified, channel=channel)

    @property
    def identity(self) -> tuple[str, int | None]:
        """What stays the same when the recording changes."""
        return self.source, self.channel

    def is_there(self) -> bool:
        """Whether the recording exists still."""
        return os.path.exists(self.source)


class OutputFolder:
    """A folder of transcripts of one format, and the record of where each came from."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder, self.form = folder, form
        self._known = self._read()
        self.unrecorded = 0
        """Transcripts that `is_done` took for done by their name alone."""

    def names(self, recordings: Mapping[OfT, Path]) -> dict[OfT, str]:
        """The name in this folder of each recording's transcript.

        recordings: each recording's path below the folder in which it was found.

        A recording keeps the name that it has in the record. A new one has its own path with the
        format for a suffix; where another recording has that name, its suffix is kept before the
        format, and then as many of its parent folders as it takes.
        """
        names: dict[OfT, str] = {}
        held = {origin.identity: name for name, origin in self._held()}
        for source in recordings:
            if (name := held.get(Origin.of(source).identity)) is not None:
                names[source] = name
        taken = set(held.values())
        left = [source for source in recordings if source not in names]
        choices = {s: _choices(_path(s), recordings[s], self.form) for s in left}
        while left:
            tried = {source: next(choices[source]) for source in left}
            wanted = Counter(tried.values())
            for source, name in tried.items():
                if wanted[name] == 1 and name not in taken:
                    names[source] = name
            taken.update(names.values())
            left = [source for source in left if source not in names]
        return names

    def is_done(self, source: Transcribable, name: str) -> bool:
        """Whether the file `name` is the transcript of this recording as it is now.

        A file of which the record says nothing counts by its name, and is counted.
        """
        if not (self.folder / name).exists():
            return False
        known = self._known.get(name)
        if known is None:
            self.unrecorded += _path(source) != STDIN
            return _path(source) != STDIN
        return known.size is not None and known == Origin.of(source)

    def line(self) -> str | None:
        """A sentence about transcripts that were taken for done without a record; None if none."""
        if not self.unrecorded:
            return None
        return (
            f"{self.folder}: {self.unrecorded} of the existing transcripts are taken to be those "
            "of the recordings of their names: there is no record of what they were made from."
        )

    def claim(self, names: Mapping[OfT, str]) -> str | None:
        """Record the recordings whose transcripts are about to be written.

        Returns why that cannot be, as a sentence; None if all is well.
        """
        claimed = {}
        for source, name in names.items():
            origin = Origin.of(source)
            # An earlier transcript may stay if this call ends early: then it is not taken for done.
            pending = (self.folder / name).exists() and self._known.get(name) != origin
            claimed[name] = replace(origin, pending=pending)
        return self._write(claimed)

    def finish(self, names: Mapping[OfT, str]) -> None:
        """Record that these transcripts were written from the recordings as they were claimed."""
        done = {
            name: replace(known, pending=False)
            for name in names.values()
            if (known := self._known.get(name)) is not None and known.pending
        }
        if done:
            self._write(done)

    def _held(self) -> Iterator[tuple[str, Origin]]:
        """The names of this format that belong to a recording: both exist still."""
        for name, origin in self._known.items():
            there = origin.source == str(STDIN) or origin.is_there()
            if there and name.endswith(f".{self.form}") and (self.folder / name).exists():
                yield name, origin

    @property
    def _path(self) -> Path:
        return home() / RECORDS / f"{hash_of(os.path.realpath(self.folder))[:24]}.json"

    def _read(self) -> dict[str, Origin]:
        """The record; nothing where there is none, or where it was not written by `_write`."""
        try:
            entries = parsed(self._path.read_text(encoding="utf-8"))["transcripts"]
            return {str(name): Origin(**entry) for name, entry in entries.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, entries: Mapping[str, Origin]) -> str | None:
        """Add entries to the record on disk, to which another call may have added meanwhile."""
        path = self._path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.parent):
                self._known = {**self._read(), **entries}
                plain = {name: asdict(origin) for name, origin in self._known.items()}
                whole = {"folder": os.path.realpath(self.folder), "transcripts": plain}
                write_whole(path, json.dumps(whole, indent=1) + "\n")
        except OSError as error:
            self._known = {**self._known, **entries}
            return (
                f"{path} cannot be written ({error.strerror}): a later call with --skip-existing "
                "knows the transcripts by their names alone."
            )
        return None


def _path(recorded: Transcribable) -> Source:
    return recorded.path if isinstance(recorded, Channel) else recorded


def _choices(source: Source, below: Path, form: str) -> Iterator[str]:
    """Names for a transcript, the plainest first, without end."""
    if source == STDIN:
        below = Path("stdin")
    folders = Path(os.path.abspath(source)).parts[1 : -len(below.parts)]
    for depth in range(len(folders) + 1):
        path = Path(*folders[len(folders) - depth :], below)
        yield _fitting(path.with_suffix(""), form)
        yield _fitting(path, form)
    number = 2
    while True:
        yield _fitting(below.with_name(f"{below.name}-{number}"), form)
        number += 1


def _fitting(path: Path, form: str) -> str:
    """The path with `form` for a suffix; a name too long for a file ends in its hash."""
    name, longest = os.fsencode(path.name), LONGEST_NAME - len(form) - 1
    if len(name) > longest:
        told = f"-{hash_of(path.name)[:8]}".encode()
        cut = name[: longest - len(told)].decode(errors="ignore").encode()
        return str(path.with_name(os.fsdecode(cut + told) + f".{form}"))
    return str(path.with_name(f"{path.name}.{form}"))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where its file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
