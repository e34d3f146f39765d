"""How long cells take: estimated from a scale's rates, corrected by the cells that are done."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper.cells import Cell
from benchmarks.paper.jobs import Place, figures_file


def estimates(cells: Sequence[Cell], place: Place) -> dict[str, float]:
    """Seconds of each cell: what it took where it is done, else an estimate.

    An estimate is that of the rates times what the done cells of its kind took beyond theirs.
    """
    raw = {cell.name: cell.job.seconds(place.scale) for cell in cells}
    took = {cell.name: _taken(place.output, cell.name) for cell in cells}
    estimated, measured = defaultdict[str, float](float), defaultdict[str, float](float)
    for cell in cells:
        seconds = took[cell.name]
        if seconds is not None:
            estimated[cell.job.kind] += raw[cell.name]
            measured[cell.job.kind] += seconds
    found = {}
    for cell in cells:
        kind, seconds = cell.job.kind, took[cell.name]
        ratio = measured[kind] / estimated[kind] if kind in measured else 1.0
        found[cell.name] = raw[cell.name] * ratio if seconds is None else seconds
    return found


def _taken(output: Path, cell: str) -> float | None:
    try:
        return float(json.loads(figures_file(output, cell).read_text(encoding="utf-8"))["seconds"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def plan_lines(cells: Sequence[Cell], place: Place, jobs: int) -> list[str]:
    """The cells with their minutes, and the sum of what is left to do."""
    seconds = estimates(cells, place)
    done = {c.name for c in cells if _taken(place.output, c.name) is not None}
    width = max(len(cell.name) for cell in cells)
    lines = [
        f"{cell.name:<{width}}  {seconds[cell.name] / 60:9.1f} min  "
        f"{'done' if cell.name in done else 'to do'}"
        for cell in cells
    ]
    left = sum(value for name, value in seconds.items() if name not in done)
    longest = longest_way(cells, {n: 0.0 if n in done else s for n, s in seconds.items()})
    lines += [
        "",
        f"{len(cells)} cells, {len(done)} done. The others: {left / 60:.0f} minutes of one "
        f"process, about {max(left / jobs, longest) / 60:.0f} minutes with --jobs {jobs}.",
        f"Estimated from: {place.scale.rates.source}; "
        "corrected by the cells of the same kind that are done.",
    ]
    return lines


def longest_way(cells: Sequence[Cell], seconds: dict[str, float]) -> float:
    """Seconds of the longest chain of cells that need each other, which no processes shorten."""
    ends: dict[str, float] = {}
    for cell in cells:  # each after those that it needs
        before = max((ends.get(name, 0.0) for name in cell.needs), default=0.0)
        ends[cell.name] = before + seconds[cell.name]
    return max(ends.values(), default=0.0)
