"""A tuning as people see it: a table, a drawing of the response surface, a page with both."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from w2v2cli.recognition.output import write_bytes, write_file
from w2v2cli.recognition.tuning.metric import Metric
from w2v2cli.recognition.tuning.trials import Outcome, Trial

SHOWN = 15  # trials in the table of a terminal
PIPE_WIDTH = 100  # characters
COORDINATES = ("LM weight", "word score", "silence score")
MARKERS = {"exact": "o", "stopped": "v", "predicted": "."}
STEEP = 0.8  # share of the trials within the colour scale: far from the optimum, how bad it is hardly matters


def print_outcome(outcome: Outcome, metric: Metric, title: str) -> None:
    """The best trials and the optimum, on stdout."""
    console = Console(
        file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH
    )
    ranked = _ranked(outcome)
    table = Table(
        title=f"{title}: the best {SHOWN} of {len(ranked)} trials" if len(ranked) > SHOWN else title
    )
    for column in _columns(outcome, metric):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for trial in ranked[:SHOWN]:
        table.add_row(*_cells(trial, outcome), style="bold" if trial == outcome.best else None)
    console.print(table)
    console.print(summary(outcome, metric))


def summary(outcome: Outcome, metric: Metric) -> str:
    """The optimum and what it cost, in two sentences."""
    low, high = outcome.interval
    where = ", ".join(
        f"{name} {value:g}" for name, value in zip(COORDINATES, outcome.best.point, strict=False)
    )
    kinds = {kind: sum(trial.kind == kind for trial in outcome.trials) for kind in MARKERS}
    return (
        f"Optimum: {where}: {metric.upper()} {outcome.best.rate * 100:.2f}% (95%: {low * 100:.1f} to {high * 100:.1f}), "
        f"searched in full.\n{kinds['exact']} trials exact, {kinds['stopped']} stopped, {kinds['predicted']} predicted: "
        f"{outcome.share:.1%} of the searches that {len(outcome.trials)} exact ones take."
    )


def json_report(outcome: Outcome, metric: Metric) -> dict[str, Any]:
    """What scripts and `tuned.json` say of it; rates are ratios."""
    return {
        "metric": metric,
        "rate": outcome.best.rate,
        "interval_95": list(outcome.interval),
        "utterances": outcome.utterances,
        "trials": len(outcome.trials),
        "exact": sum(trial.kind == "exact" for trial in outcome.trials),
        "searched": outcome.cost,
        "share": round(outcome.share, 4),
    }


def draw_surface(outcome: Outcome, metric: Metric, title: str) -> bytes | None:
    """A PNG of the rate over LM weight and word score with the points tried; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.tri import Triangulation
    except ImportError:
        return None
    figure = Figure((7, 5), layout="constrained")
    axes = figure.add_subplot()
    x, y, rates = (
        [value(trial) for trial in outcome.trials] for value in (_first, _second, _percent)
    )
    low, high = min(rates), sorted(rates)[int(STEEP * (len(rates) - 1))]
    scale: dict[str, Any] = {"vmin": low, "vmax": max(high, low + 0.01), "cmap": "viridis_r"}
    flat = len(outcome.best.point) == 2
    if flat and len(set(x)) > 2 and len(set(y)) > 2:
        axes.tripcolor(Triangulation(x, y), rates, shading="gouraud", alpha=0.55, **scale)
    shown: Any = None
    for kind, marker in MARKERS.items():
        of_kind = [trial for trial in outcome.trials if trial.kind == kind]
        if of_kind:
            shown = axes.scatter(
                [_first(t) for t in of_kind], [_second(t) for t in of_kind], c=[_percent(t) for t in of_kind],
                marker=marker, s=45, edgecolors="black" if kind != "predicted" else None, linewidths=0.6,
                label=f"{kind} ({len(of_kind)})", **scale,
            )  # fmt: skip
    best = outcome.best
    axes.plot(
        [_first(best)],
        [_second(best)],
        "*",
        color="red",
        markersize=15,
        label=f"optimum {_percent(best):.2f}%",
    )
    figure.colorbar(shown, label=f"{metric.upper()} %", extend="max")
    axes.set(xlabel=COORDINATES[0], ylabel=COORDINATES[1], title=title)
    axes.legend(fontsize=8)
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=130)
    return drawing.getvalue()


def write_report(outcome: Outcome, metric: Metric, title: str, folder: Path) -> list[Path]:
    """surface.png (with matplotlib) and surface.html, which needs no other file; the paths written."""
    drawing = draw_surface(outcome, metric, title)
    written = []
    if drawing is not None:
        write_bytes(folder / "surface.png", drawing)
        written.append(folder / "surface.png")
    write_file(folder / "surface.html", _page(outcome, metric, title, drawing))
    return [*written, folder / "surface.html"]


def _page(outcome: Outcome, metric: Metric, title: str, drawing: bytes | None) -> str:
    picture = "<p>Not drawn: matplotlib was not installed.</p>"
    if drawing is not None:
        data = base64.b64encode(drawing).decode()
        picture = (
            f'<img alt="{metric.upper()} over the weights" src="data:image/png;base64,{data}">'
        )
    head = "".join(f"<th>{html.escape(column)}</th>" for column in _columns(outcome, metric))
    rows = "".join(
        f"<tr{' class=best' if trial == outcome.best else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(trial, outcome))
        + "</tr>"
        for trial in _ranked(outcome)
    )
    notes = (
        "exact: searched in full. stopped: searched until another was seen to be better; errors so far are exact, those of the "
        "rest predicted. predicted: by the n-best lists of the searches. Between the points the colour is interpolated."
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:14px sans-serif;margin:2em}td,th{text-align:right;padding:0 1em}.best{font-weight:bold}"
        f"img{{max-width:100%}}</style><h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(summary(outcome, metric)).replace(chr(10), '<br>')}</p>{picture}<p>{notes}</p>"
        f"<table><tr>{head}</tr>{rows}</table></html>\n"
    )


def _ranked(outcome: Outcome) -> list[Trial]:
    """Best first; of equals what was searched in full."""
    order = list(MARKERS)
    return sorted(
        outcome.trials, key=lambda trial: (trial.rate, order.index(trial.kind), trial.number)
    )


def _columns(outcome: Outcome, metric: Metric) -> Sequence[str]:
    return (
        "trial",
        *COORDINATES[: len(outcome.best.point)],
        f"{metric.upper()} %",
        "kind",
        "searched",
    )


def _cells(trial: Trial, outcome: Outcome) -> list[str]:
    searched = f"{trial.searched / outcome.utterances:.0%}" if trial.searched else ""
    return [
        str(trial.number),
        *(f"{x:.4g}" for x in trial.point),
        f"{_percent(trial):.2f}",
        trial.kind,
        searched,
    ]


def _first(trial: Trial) -> float:
    return trial.point[0]


def _second(trial: Trial) -> float:
    return trial.point[1]


def _percent(trial: Trial) -> float:
    return trial.rate * 100
