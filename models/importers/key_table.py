"""Foreign names of weights to ours and back, by one table of two columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from models.checkpoint import NAMED, CheckpointError

Table = tuple[tuple[str, str], ...]  # (theirs, ours); `{i}` stands for a number


def to_ours(
    weights: Mapping[str, Tensor], table: Table, path: Path, ignored: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Rename weights by the table; CheckpointError names those that it does not list.

    ignored: patterns of names that a recognition or pretraining network has no use for.
    """
    rules = [(_pattern(theirs), ours) for theirs, ours in table]
    skip = [re.compile(pattern) for pattern in ignored]
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in weights.items():
        for pattern, ours in rules:
            if match := pattern.fullmatch(name):
                renamed[ours.format(i=match.groupdict().get("i", ""))] = tensor.float()
                break
        else:
            if not any(pattern.fullmatch(name) for pattern in skip):
                unknown.append(name)
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise CheckpointError(
            f"{path} has {len(unknown)} unknown weights: {', '.join(unknown[:NAMED])}{more}."
        )
    return renamed


def to_theirs(weights: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """The other way; every one of our names must be in the table."""
    rules = [(_pattern(ours), theirs) for theirs, ours in reversed(table)]
    renamed = {}
    for name, tensor in weights.items():
        match, theirs = next(
            (m, theirs) for pattern, theirs in rules if (m := pattern.fullmatch(name))
        )
        renamed[theirs.format(i=match.groupdict().get("i", ""))] = tensor
    return renamed


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(re.escape("{i}"), r"(?P<i>\d+)"))


def with_parts(
    table: Iterable[tuple[str, str]], parts: tuple[str, ...] = ("weight", "bias")
) -> Table:
    """Rows for the weight and the bias of each module named."""
    return tuple((f"{theirs}.{part}", f"{ours}.{part}") for theirs, ours in table for part in parts)
