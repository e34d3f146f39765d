"""Curves of training runs, drawn from their logs."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from storage.whole import whole_file, write_whole
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.metrics import read_log

LEFT_OUT = {"update", "epoch", "time"}
SMOOTHED = 50  # updates of the moving mean
COLUMNS = 3
SIZE = (4.2, 2.6)  # inches of one curve


class Shown(NamedTuple):
    """How a metric is drawn."""

    title: str
    axis: str
    """What the values are, with their unit."""
    factor: float = 1.0
    smooth: bool = True
    """Whether single updates are noise: what is set, summed up or held is drawn as it is."""


# The most telling first; what is not listed comes last, under its own name.
METRICS = {
    "wer": Shown("Word error rate (validation)", "WER (%)", 100),
    "wer_lm": Shown("Word error rate with the LM (validation)", "WER (%)", 100),
    "per": Shown("Phone error rate (validation)", "PER (%)", 100),
    "cer": Shown("Character error rate (validation)", "CER (%)", 100),
    "cer_lm": Shown("Character error rate with the LM (validation)", "CER (%)", 100),
    "valid_loss": Shown("Loss (validation)", "loss (nats)"),
    "valid_contrastive": Shown("Contrastive loss (validation)", "loss (nats)"),
    "valid_accuracy": Shown("Latents told from distractors (validation)", "accuracy (%)", 100),
    "valid_perplexity": Shown("Perplexity (validation)", "perplexity"),
    "loss": Shown("Loss", "loss (nats)"),
    "contrastive": Shown("Contrastive loss", "loss (nats)"),
    "diversity": Shown("Diversity loss", "loss"),
    "penalty": Shown("Feature penalty", "mean square"),
    "accuracy": Shown("Latents told from distractors", "accuracy (%)", 100),
    "code_perplexity": Shown("Codebook entries chosen", "perplexity, all codebooks"),
    "prob_perplexity": Shown("Codebook entries likely", "perplexity, all codebooks"),
    "perplexity": Shown("Perplexity", "perplexity"),
    "blanks": Shown("Frames whose best symbol is the blank", "share (%)", 100),
    "valid_blanks": Shown("Frames of blanks (validation)", "share (%)", 100),
    "learning_rate": Shown("Learning rate", "learning rate", smooth=False),
    "gradient_norm": Shown("Norm of the gradient", "norm"),
    "temperature": Shown("Temperature of the quantizer", "temperature", smooth=False),
    "audio_seconds_per_second": Shown("Speed", "times real time"),
    "words_per_second": Shown("Speed", "words a second"),
    "audio_hours": Shown("Audio heard", "hours", smooth=False),
    "words": Shown("Words read", "words", smooth=False),
    "loader_wait": Shown("Time spent waiting for data", "seconds an update"),
    "memory_gb": Shown("Memory held at most", "GB", smooth=False),
    "skipped": Shown("Updates left out: not finite", "updates", smooth=False),
}


def draw(runs: Sequence[Path], output: Path) -> None:
    """Draw every metric the runs logged over the updates, the error rates first.

    What differs from update to update by chance is drawn raw and smoothed over 50 updates.
    runs: folders, drawn over each other. output: a `.png`, `.svg` or `.html` file.
    Raises UserError without matplotlib and for a folder without a log, UsageError for another
    suffix.
    """
    if output.suffix not in (".png", ".svg", ".html"):
        raise UsageError(
            f"Curves are drawn as .png, .svg or .html, got {output.name}: change its suffix."
        )
    logs = {name: read_log(run) for name, run in zip(_names(runs), runs, strict=True)}
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
        from matplotlib.lines import Line2D
    except ImportError:
        raise UserError("Curves need matplotlib: pip install 'w2v2[plots]'.") from None
    logged = {name for rows in logs.values() for row in rows for name in row} - LEFT_OUT
    if not logged:
        raise UserError(f"{', '.join(logs)}: the log is empty, nothing has been trained yet.")
    names = [name for name in METRICS if name in logged] + sorted(logged - METRICS.keys())
    lines = -(-len(names) // COLUMNS)
    figure = Figure((SIZE[0] * COLUMNS, SIZE[1] * lines), layout="constrained")
    for axes, name in zip(figure.subplots(lines, COLUMNS, squeeze=False).flat, names, strict=False):
        for i, (run, rows) in enumerate(logs.items()):
            _curve(axes, name, rows, f"C{i}", run)
        shown = METRICS.get(name, Shown(name, name))
        axes.set_title(shown.title, fontsize=9)
        axes.set_xlabel("update", fontsize=8)
        axes.set_ylabel(shown.axis, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    for axes in list(figure.axes)[len(names) :]:
        axes.remove()
    if len(logs) > 1:  # above all curves, where it covers none
        lines_of = [Line2D([], [], color=f"C{i}", label=run) for i, run in enumerate(logs)]
        figure.legend(handles=lines_of, loc="outside upper left", fontsize=8)
    return figure


def _names(runs: Sequence[Path]) -> list[str]:
    """A name for each run: that of its folder, or the whole path where several have it."""
    names = [run.resolve().name for run in runs]
    return [
        str(run) if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)
    ]


def _curve(axes: Any, name: str, rows: Sequence[dict[str, Any]], color: str, run: str) -> None:
    """Draw a metric of a run: over each update faintly, and the mean of the last ones."""
    shown = METRICS.get(name, Shown(name, name))
    points = [(row["update"], row[name]) for row in rows if row.get(name) is not None]
    updates = [update for update, _ in points]
    values = [value * shown.factor for _, value in points]
    if shown.smooth and len(points) > 2 * SMOOTHED:
        axes.plot(updates, values, color=color, alpha=0.25, linewidth=0.7)
        values = moving_mean(values, SMOOTHED)
    marker = "." if len(points) < SMOOTHED else ""
    axes.plot(updates, values, color=color, label=run, linewidth=1.2, marker=marker)


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
