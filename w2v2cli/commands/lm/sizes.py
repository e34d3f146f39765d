"""Amounts of memory as options take them: `4GB`, `500M`."""

from __future__ import annotations

import os
import re

from w2v2cli.errors import UsageError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?")
USUAL = 4 << 30  # bytes that a job takes unless it is told


def bytes_of(text: str, flag: str) -> int:
    """The number of bytes that `text` names. Raises UsageError with the flag."""
    match = AMOUNT.fullmatch(text.strip().upper())
    if match is None or not float(match[1]):
        raise UsageError(f"{flag} takes an amount like 4GB or 500MB, got {text!r}.")
    return int(float(match[1]) * UNITS[match[2]])


def usual_memory() -> int:
    """4 GB, or half of the machine's memory where that is less."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return USUAL
    return min(USUAL, whole // 2)


def shown(size: float) -> str:
    """A number of bytes for people."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
