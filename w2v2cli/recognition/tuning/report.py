"""The report on a tuning: a table, a drawing of the response surface, an HTML page with both."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from w2v2cli.console import stdout_console
from w2v2cli.recognition.tuning.session import TuningResult
from w2v2cli.recognition.tuning.trials import Trial
from w2v2cli.recognition.writing.output import write_file

SHOWN = 15  # trials in the table of a terminal
COORDINATES = ("LM weight", "word score", "silence score")
MARKERS = {"exact": "o", "stopped": "v", "predicted": "."}
STEEP = 0.8  # share of the trials, best first, that the colour scale covers; the rest look alike

STYLE = """
body { font: 14px sans-serif; margin: 2em }
td, th { text-align: right; padding: 0 1em }
.best { font-weight: bold }
img { max-width: 100% }
"""
KINDS = (
    "exact: the whole corpus was searched with these weights. "
    "stopped: the search ended when other weights were clearly better; errors up to there are "
    "exact, the rest is predicted. "
    "predicted: no search; errors are predicted from the n-best lists of the searches. "
    "In the drawing, colours between the points are interpolated."
)


def title_of(result: TuningResult) -> str:
    """Model, language models, corpus and beam, in one line."""
    settings = result.settings
    passes = settings.lm.name
    if settings.rescore is not None:
        passes += f", scored again by {settings.rescore.lm.name}"
    beam = settings.beam.width
    return f"{settings.model.title}, LM {passes}, {result.corpus.name}, beam {beam}"


def print_report(result: TuningResult) -> None:
    """Print the best trials and the result on stdout."""
    console = stdout_console()
    ranked, title = _ranked(result), title_of(result)
    if len(ranked) > SHOWN:
        title += f": the best {SHOWN} of {len(ranked)} trials"
    table = Table(title=title)
    for column in _columns(result):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for trial in ranked[:SHOWN]:
        style = "bold" if trial == result.outcome.best else None
        table.add_row(*_cells(trial, result), style=style)
    console.print(table)
    console.print(summary(result))


def summary(result: TuningResult) -> str:
    """The best weights and the cost of the tuning, in two sentences."""
    outcome, (low, high) = result.outcome, result.interval
    where = ", ".join(
        f"{name} {value:g}" for name, value in zip(COORDINATES, outcome.best.point, strict=False)
    )
    kinds = {kind: sum(trial.kind == kind for trial in outcome.trials) for kind in MARKERS}
    return (
        f"Optimum: {where}: {result.metric.upper()} {result.rate * 100:.2f}% "
        f"(95%: {low * 100:.1f} to {high * 100:.1f}), searched in full.\n"
        f"{kinds['exact']} trials exact, {kinds['stopped']} stopped, "
        f"{kinds['predicted']} predicted: {outcome.share:.1%} of the searches that "
        f"{len(outcome.trials)} exact trials take."
    )


def json_report(result: TuningResult) -> dict[str, Any]:
    """The weights, the rates as ratios, the files and every trial."""
    best = result.outcome.best.point
    return {
        **dict(zip(("lm_weight", "word_score", "sil_score"), best, strict=False)),
        **result.details,
        "tuned": result.kept and str(result.kept),
        "study": str(result.study),
        "list": [{**vars(trial), "point": list(trial.point)} for trial in result.outcome.trials],
    }


def write_report(result: TuningResult) -> list[Path]:
    """Write surface.html and, with matplotlib, surface.png into the study's folder; their paths.

    The page is the last path; it needs no other file. Raises UserError.
    """
    drawing, folder = draw_surface(result), result.study
    written = []
    if drawing is not None:
        write_file(folder / "surface.png", drawing)
        written.append(folder / "surface.png")
    write_file(folder / "surface.html", _page(result, drawing))
    return [*written, folder / "surface.html"]


def draw_surface(result: TuningResult) -> bytes | None:
    """A PNG of the error rate over LM weight and word score; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    metric, best = result.metric.upper(), result.outcome.best
    figure = Figure((7, 5), layout="constrained")
    axes = figure.add_subplot()
    shown = _draw_trials(axes, result.outcome.trials)
    optimum = f"optimum {_percent(best):.2f}%"
    axes.plot([_x(best)], [_y(best)], "*", color="red", markersize=15, label=optimum)
    figure.colorbar(shown, label=f"{metric} %", extend="max")
    axes.set(xlabel=COORDINATES[0], ylabel=COORDINATES[1], title=title_of(result))
    axes.legend(fontsize=8)
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=130)
    return drawing.getvalue()


def _draw_trials(axes: Any, trials: Sequence[Trial]) -> Any:
    """Draw each trial as a point, over the interpolated surface; one set of points."""
    from matplotlib.tri import Triangulation

    x, y, rates = list(map(_x, trials)), list(map(_y, trials)), list(map(_percent, trials))
    low, high = min(rates), sorted(rates)[int(STEEP * (len(rates) - 1))]
    scale: dict[str, Any] = {"vmin": low, "vmax": max(high, low + 0.01), "cmap": "viridis_r"}
    flat = len(trials[0].point) == 2  # with a silence score the points do not lie in a plane
    if flat and len(set(x)) > 2 and len(set(y)) > 2:
        axes.tripcolor(Triangulation(x, y), rates, shading="gouraud", alpha=0.55, **scale)
    shown: Any = None
    for kind, marker in MARKERS.items():
        of_kind = [trial for trial in trials if trial.kind == kind]
        if of_kind:
            shown = axes.scatter(
                list(map(_x, of_kind)),
                list(map(_y, of_kind)),
                c=list(map(_percent, of_kind)),
                marker=marker,
                s=45,
                edgecolors="black" if kind != "predicted" else None,
                linewidths=0.6,
                label=f"{kind} ({len(of_kind)})",
                **scale,
            )
    return shown


def _page(result: TuningResult, drawing: bytes | None) -> str:
    title, best = html.escape(title_of(result)), result.outcome.best
    picture = "<p>There is no drawing: matplotlib was not installed.</p>"
    if drawing is not None:
        data = base64.b64encode(drawing).decode()
        alternative = f"{result.metric.upper()} over the weights"
        picture = f'<img alt="{alternative}" src="data:image/png;base64,{data}">'
    head = "".join(f"<th>{html.escape(column)}</th>" for column in _columns(result))
    rows = "".join(
        f"<tr{' class=best' if trial == best else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(trial, result))
        + "</tr>"
        for trial in _ranked(result)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{html.escape(summary(result)).replace(chr(10), '<br>')}</p>"
        f"{picture}<p>{KINDS}</p><table><tr>{head}</tr>{rows}</table></html>\n"
    )


def _ranked(result: TuningResult) -> list[Trial]:
    """All trials, best first; among equals the exact ones first."""
    order = list(MARKERS)
    return sorted(
        result.outcome.trials, key=lambda trial: (trial.rate, order.index(trial.kind), trial.number)
    )


def _columns(result: TuningResult) -> Sequence[str]:
    coordinates = COORDINATES[: len(result.outcome.best.point)]
    return ("trial", *coordinates, f"{result.metric.upper()} %", "kind", "searched")


def _cells(trial: Trial, result: TuningResult) -> list[str]:
    searched = f"{trial.searched / result.outcome.utterances:.0%}" if trial.searched else ""
    return [
        str(trial.number),
        *(f"{x:.4g}" for x in trial.point),
        f"{_percent(trial):.2f}",
        trial.kind,
        searched,
    ]


def _x(trial: Trial) -> float:
    return trial.point[0]


def _y(trial: Trial) -> float:
    return trial.point[1]


def _percent(trial: Trial) -> float:
    return trial.rate * 100
