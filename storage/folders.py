"""Files in folders: walked through links, without what is hidden and what is no file."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 3  # suffixes that a line about passed files names
Place = tuple[int, int]  # a folder's device and inode


def is_file(path: Path) -> bool:
    """Whether a path is a file; False also for a name that no file can have, such as a long one.

    Of names in other people's lists: `Path.is_file` raises OSError for a long one.
    """
    return os.path.isfile(path)


@dataclass
class Walk:
    """A walk through a folder, and what it passed over."""

    top: Path
    hidden: int = 0
    """Files and folders whose names begin with a dot."""
    special: int = 0
    """Pipes, sockets, devices, and links to nothing."""
    other: Counter[str] = field(default_factory=Counter)
    """Files that a caller did not want, by their suffix; the caller counts them."""
    unreadable: list[Path] = field(default_factory=list)
    """Folders that cannot be listed."""

    def folders(self) -> Iterator[tuple[Path, list[str]]]:
        """Yield each folder from the top with the names of the files in it, in order of names.

        Links to files and folders are followed; a folder is visited once, by its own path where it
        has one below the top. Hidden names are passed over, and what is neither file nor folder.
        """
        seen: set[Place] = set()
        links: list[Path] = []
        yield from self._below(self.top, seen, links)
        for link in links:  # grows: a linked folder may hold links
            yield from self._below(link, seen, links)

    def _below(
        self, top: Path, seen: set[Place], links: list[Path]
    ) -> Iterator[tuple[Path, list[str]]]:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                about = os.stat(folder)
                if (about.st_dev, about.st_ino) in seen or not stat.S_ISDIR(about.st_mode):
                    continue
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except (NotADirectoryError, FileNotFoundError):  # gone since, or a file
                continue
            except OSError:
                self.unreadable.append(folder)
                continue
            seen.add((about.st_dev, about.st_ino))
            names, below = [], []
            for entry in entries:
                if entry.name.startswith("."):
                    self.hidden += 1
                elif entry.is_dir(follow_symlinks=False):
                    below.append(folder / entry.name)
                elif _is(entry, os.DirEntry.is_dir):
                    links.append(folder / entry.name)
                elif _is(entry, os.DirEntry.is_file):
                    names.append(entry.name)
                else:
                    self.special += 1
            yield folder, names
            waiting += reversed(below)

    def line(self) -> str | None:
        """A sentence that counts what was passed over; None where nothing was."""
        parts = []
        if self.other:
            kinds = [f"{kind or 'no suffix'}" for kind, _ in self.other.most_common(SHOWN)]
            more = ", ..." if len(self.other) > SHOWN else ""
            parts.append(f"{self.other.total()} of other kinds ({', '.join(kinds)}{more})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden")
        if self.special:
            parts.append(f"{self.special} that are pipes, sockets or links to nothing")
        return f"{self.top}: files passed over: {', '.join(parts)}." if parts else None


def _is(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    try:
        return kind(entry)
    except OSError:  # a link in a circle, or into a folder that may not be entered
        return False
