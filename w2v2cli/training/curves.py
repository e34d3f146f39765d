"""Curves of training runs, drawn from their logs."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.whole import whole_file, write_whole
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.metrics import read_log

LEFT_OUT = {"update", "epoch", "time"}
SMOOTHED = 50  # updates of the moving mean
COLUMNS = 3
SIZE = (4.2, 2.6)  # inches of one curve


def draw(runs: Sequence[Path], output: Path) -> None:
    """Draw every metric the runs logged over the updates, raw and smoothed over 50 updates.

    runs: folders, drawn over each other. output: a `.png`, `.svg` or `.html` file.
    Raises UserError without matplotlib and for a folder without a log, UsageError for another
    suffix.
    """
    if output.suffix not in (".png", ".svg", ".html"):
        raise UsageError(
            f"Curves are drawn as .png, .svg or .html, got {output.name}: change its suffix."
        )
    logs = {run.name: read_log(run) for run in runs}
    figure = _figure(logs)
    if output.suffix == ".html":
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg")
        write_whole(output, _page(logs, drawing.getvalue()))
    else:
        with whole_file(output) as beside:
            figure.savefig(beside, dpi=120, format=output.suffix[1:])


def _figure(logs: dict[str, list[dict[str, Any]]]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Curves need matplotlib: pip install 'w2v2[plots]'.") from None
    names = list(
        dict.fromkeys(
            name for rows in logs.values() for row in rows for name in row if name not in LEFT_OUT
        )
    )
    if not names:
        raise UserError(f"{', '.join(logs)}: the log is empty, nothing has been trained yet.")
    lines = -(-len(names) // COLUMNS)
    figure = Figure((SIZE[0] * COLUMNS, SIZE[1] * lines), layout="constrained")
    for axes, name in zip(figure.subplots(lines, COLUMNS, squeeze=False).flat, names, strict=False):
        for i, (run, rows) in enumerate(logs.items()):
            points = [(row["update"], row[name]) for row in rows if row.get(name) is not None]
            if not points:
                continue
            updates, values = ([point[i] for point in points] for i in (0, 1))
            if len(points) > 2 * SMOOTHED:
                axes.plot(updates, values, color=f"C{i}", alpha=0.25, linewidth=0.7)
                values = moving_mean(values, SMOOTHED)
            marker = "." if len(points) < SMOOTHED else ""
            axes.plot(updates, values, color=f"C{i}", label=run, linewidth=1.2, marker=marker)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    for axes in list(figure.axes)[len(names) :]:
        axes.remove()
    if len(logs) > 1:
        figure.axes[0].legend(fontsize=7)
    return figure


def moving_mean(values: Sequence[float], size: int) -> list[float]:
    """Return the mean of each value and the up to `size - 1` values before it."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value
        if i >= size:
            total -= values[i - size]
        means.append(total / min(i + 1, size))
    return means


def _page(logs: dict[str, list[dict[str, Any]]], drawing: str) -> str:
    """An HTML page that needs no other file: the drawing, and each run's last values."""
    rows = []
    for run, lines in logs.items():
        last: dict[str, Any] = {}
        for line in lines:
            last |= {name: value for name, value in line.items() if value is not None}
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{value:.6g}</td></tr>"
            for name, value in last.items()
        )
        rows.append(f"<section><h2>{html.escape(run)}</h2><table>{cells}</table></section>")
    svg = drawing[drawing.index("<svg") :]
    title = html.escape(", ".join(logs))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:14px sans-serif;margin:2em}"
        "th{text-align:left;padding-right:2em;font-weight:normal}"
        "section{display:inline-block;vertical-align:top;margin-right:3em}</style>"
        f"{svg}{''.join(rows)}</html>\n"
    )
