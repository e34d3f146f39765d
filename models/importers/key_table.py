"""Translates foreign names of weights to ours and back, by one table of two columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from models.checkpoint import CheckpointError
from storage.tensors import shortened

Table = tuple[tuple[str, str], ...]  # (theirs, ours); `{i}` stands for a number


def to_ours(
    weights: Mapping[str, Tensor], table: Table, path: Path, ignored: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Rename weights by the table.

    ignored: regular expressions for names that our networks have no use for.

    Raises CheckpointError with the names that the table does not list.
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
        raise CheckpointError(f"{path} has {len(unknown)} unknown weights: {shortened(unknown)}.")
    return renamed


def to_theirs(weights: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Rename weights the other way; where the table lists one of ours twice, its last row counts.

    Raises CheckpointError with the names that the other format has no place for.
    """
    rules = [(_pattern(ours), theirs) for theirs, ours in reversed(table)]
    renamed: dict[str, Tensor] = {}
    without = []
    for name, tensor in weights.items():
        for pattern, theirs in rules:
            if match := pattern.fullmatch(name):
                renamed[theirs.format(i=match.groupdict().get("i", ""))] = tensor
                break
        else:
            without.append(name)
    if without:
        raise CheckpointError(
            f"The other format has no place for {len(without)} weights: {shortened(without)}."
        )
    return renamed


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(re.escape("{i}"), r"(?P<i>\d+)"))


def with_parts(
    table: Iterable[tuple[str, str]], parts: tuple[str, ...] = ("weight", "bias")
) -> Table:
    """Rows for the weight and the bias of each module in `table`."""
    return tuple((f"{theirs}.{part}", f"{ours}.{part}") for theirs, ours in table for part in parts)
