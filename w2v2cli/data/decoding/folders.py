"""Recordings among files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from storage.folders import Walk
from w2v2cli.data.decoding.source import SUFFIXES, Source
from w2v2cli.errors import UsageError


def find_recordings(
    inputs: Iterable[str | Path], note: Callable[[str], None] = lambda sentence: None
) -> list[Source]:
    """List files: those named, those in folders and their subfolders, those that match a pattern.

    A folder's recordings (SUFFIXES) come in the order of their names; no file comes twice. Links
    are followed. Hidden files and folders, and pipes, are skipped unless they are named; `note` is
    called with a sentence that counts what was skipped. What does not exist, and a folder without
    recordings, stays in the list: reading it raises the error that says so.

    Raises UsageError for an empty name.
    """
    return list(recordings_by_place(inputs, note))


def recordings_by_place(
    inputs: Iterable[str | Path], note: Callable[[str], None] = lambda sentence: None
) -> dict[Source, Path]:
    """As `find_recordings`, each with its path below the folder that was named; else its name."""
    found: dict[Source, Path] = {}
    for item in map(str, inputs):
        if not item:
            raise UsageError("The name of a recording is empty: name a file or a folder.")
        matches = [item]
        if not os.path.lexists(item) and glob.has_magic(item):
            matches = sorted(glob.glob(item, recursive=True)) or [item]
        for match in matches:
            walk = Walk(Path(match))
            if match != item and os.path.exists(match) and not _file_or_folder(match):
                continue  # a pipe that a pattern fits: it would be waited on
            for path in _recordings(walk) or [Path(match)]:
                top = walk.top if path != walk.top else path.parent
                found.setdefault(path, path.relative_to(top))
            line = walk.line()
            if line is not None:
                note(line)
    return found


def _file_or_folder(path: str) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)


def _recordings(walk: Walk) -> list[Path]:
    """The recordings in a folder, and subfolders that cannot be listed; nothing for a file."""
    files = []
    for folder, names in walk.folders():
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in SUFFIXES:
                files.append(folder / name)
            else:
                walk.other[suffix] += 1
    return sorted([*files, *walk.unreadable])
