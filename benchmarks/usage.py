"""Processor time and memory of a process and its descendants. Linux only: it reads /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # ticks of the clock in a second


def family(pid: int) -> list[int]:
    """A process and its descendants that live."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(path)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants."""
    return sum(own_cpu_seconds(member) or 0.0 for member in family(pid))


def own_cpu_seconds(pid: int) -> float | None:
    """User and system time of one process; None when it has ended."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else None


def proportional_mb(pid: int) -> float:
    """Memory of a process and its descendants, in 10^6 bytes.

    A page that several processes share counts once (PSS, the proportional set size).
    """
    return sum(own_proportional_mb(member) for member in family(pid))


def own_proportional_mb(pid: int) -> float:
    """The same of one process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def status_mb(pid: int, field: str) -> float | None:
    """An amount of memory in a process's status, in 10^6 bytes; None when it has ended.

    field: `VmHWM`, the most that was resident, or `RssAnon`, what is not mapped from files.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 / 1e6 if found else None


def _stat(path: Path) -> list[str]:
    """The fields after a process's name, its state first; none when it has ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
