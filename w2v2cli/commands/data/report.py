"""Lines on stderr about files that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2v2cli.console import complain, counted, say

if TYPE_CHECKING:
    from w2v2cli.data.scanning import Scan

NAMED = 20  # lines of a kind that are printed before the rest is only counted


def print_findings(found: Scan) -> None:
    """Print the groups of equal files, and why recordings cannot be read."""
    groups = [f"The same content: {', '.join(map(str, paths))}" for paths in found.duplicates]
    print_some(groups, "groups of files with the same content")
    print_some([reason for _, reason in found.failures], tell=complain)


def print_manifest(path: Path, found: Scan) -> None:
    """Print the findings, and what the manifest at `path` holds."""
    print_findings(found)
    say(
        f"{path}: {counted(len(found.utterances), 'recording')}, {found.hours:.2f} hours, "
        f"{counted(found.speakers, 'speaker') if found.speakers else 'unknown speakers'}."
    )


def print_some(lines: Sequence[str], kind: str = "", tell: Callable[[str], None] = say) -> None:
    """Print the first NAMED lines, and how many more of that kind there are."""
    for line in lines[:NAMED]:
        tell(line)
    if len(lines) > NAMED:
        tell(f"... and {len(lines) - NAMED} more{f' {kind}' if kind else ''}.")
