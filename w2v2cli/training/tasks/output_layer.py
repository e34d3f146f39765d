"""Rows of an output layer, kept by their labels when a run has other labels than its start."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lm.text.vocabulary import Vocabulary

NAMED = 20  # symbols that a sentence lists


def rows_by_label(before: Vocabulary, after: Vocabulary) -> list[int | None]:
    """Return, for each label of `after`, the index of the one that it continues, or None.

    Blank, word boundary and unknown symbol are found by what they are for, a letter by its label or
    else by that of the other case. Labels of other units (phones, pieces) continue nothing.
    """
    if before.units != after.units:
        return [None] * len(after.symbols)
    known = before.index
    found = [known.get(label, _other_case(label, known)) for label in after.symbols]
    for role in ("blank", "word_boundary", "unknown"):
        here, there = getattr(after, role), getattr(before, role)
        if here is not None:
            found[here] = there
    return found


def _other_case(label: str, known: dict[str, int]) -> int | None:
    return next((known[c] for c in (label.upper(), label.lower()) if c in known), None)


def continued(output: Tensor, start: Tensor, rows: Sequence[int | None]) -> Tensor:
    """Return `output` (V, ...) with the rows that continue one of `start` (U, ...)."""
    kept = [(new, old) for new, old in enumerate(rows) if old is not None]
    result = output.clone()
    result[[new for new, _ in kept]] = start[[old for _, old in kept]].to(output)
    return result


def rows_line(before: Vocabulary, after: Vocabulary, model: str) -> str | None:
    """Return a sentence on which rows are kept; None where all labels are the same."""
    old, new = before.symbols, after.symbols
    if old == new:
        return None
    rows = rows_by_label(before, after)
    fresh = [label for label, row in zip(new, rows, strict=True) if row is None]
    unused = [label for i, label in enumerate(old) if i not in set(rows)]
    line = f"Output layer: {len(new) - len(fresh)} of {len(new)} symbols keep their rows of {model}"
    if fresh:
        line += f"; new: {_listed(fresh)}"
    if unused:
        line += f"; no longer used: {_listed(unused)}"
    return f"{line}."


def _listed(labels: Sequence[str]) -> str:
    return " ".join(labels[:NAMED]) + (
        f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    )
