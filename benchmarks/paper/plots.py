"""The pictures of the page, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paper.results import Errors
from w2v2cli.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (7.2, 4.2)  # inches


@dataclass(frozen=True)
class Curve:
    """A line of a picture."""

    label: str
    points: Sequence[tuple[float, float, float]]
    """Place, height and deviation."""
    colour: int
    dashed: bool = False


def lines(
    curves: Sequence[Curve], across: str, up: str, title: str, logarithmic: bool = False
) -> Figure:
    """Curves with the deviation of each point."""
    figure, axes = _figure(SIZE)
    for curve in curves:
        if not curve.points:
            continue
        places, heights, deviations = zip(*curve.points, strict=True)
        axes.errorbar(
            places,
            heights,
            yerr=deviations if any(deviations) else None,
            label=curve.label,
            color=f"C{curve.colour}",
            linestyle="--" if curve.dashed else "-",
            marker="o",
            markersize=4,
            capsize=3,
        )
    if logarithmic:
        axes.set_xscale("log")
        ticks = sorted({point[0] for curve in curves for point in curve.points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def bars(rows: Sequence[tuple[str, Errors]], across: str) -> Figure:
    """A bar for each row, its mean, the first on top, and a point for each seed."""
    figure, axes = _figure((SIZE[0], 0.9 + 0.42 * len(rows)))
    for place, (_, errors) in enumerate(rows):
        axes.barh(place, errors.mean, color="C0", alpha=0.35)
        axes.plot(errors.rates, [place] * len(errors.rates), "o", color="C0", markersize=4)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    seen = np.concatenate([errors.rates for _, errors in rows])
    room = max(np.ptp(seen), 1.0)
    start = max(seen.min() - room, 0.0)
    axes.set_xlim(start, seen.max() + room / 2)
    axes.set_xlabel(f"{across} (the axis does not begin at 0)" if start else across)
    return figure


def points(found: Sequence[Sequence[float]]) -> Figure:
    """Tried weights, coloured by their error rate (a ratio), with the start of tuning marked."""
    figure, axes = _figure((SIZE[0], SIZE[1]))
    weights, scores, rates = (np.array([row[i] for row in found]) for i in (0, 1, -1))
    best = np.percentile(rates, 75)  # bad ones alike, so that the good ones can be told apart
    dots = axes.scatter(weights, scores, c=100 * np.minimum(rates, best), cmap="viridis", s=28)
    axes.plot(2, -1, "x", color="red", markersize=9, label="2 and -1")
    figure.colorbar(dots, label="WER on the dev part, %")
    axes.set_xlabel("LM weight")
    axes.set_ylabel("word score")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def heatmap(phones: Sequence[str], counts: Sequence[Sequence[Sequence[int]]]) -> Figure:
    """Shares of the phones for each used entry of each codebook, entries sorted by their phone.

    counts: of each codebook, by phone and entry.
    """
    figure, both = _figure((9.5, 0.5 + 3.9 * len(counts)), len(counts))
    frames = np.array(counts).sum((0, 2))
    order = np.argsort(-frames)  # the commonest phone on top
    for number, (axes, table) in enumerate(zip(both, counts, strict=True), 1):
        sums = np.array(table)[order]  # (P, V)
        sums = sums[:, sums.sum(0) > 0]
        shares = sums / sums.sum(0)
        places = np.lexsort((-shares.max(0), shares.argmax(0)))
        image = axes.imshow(
            shares[:, places],
            aspect="auto",
            cmap="Blues",
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        axes.set_yticks(range(len(order)), [phones[i] for i in order], fontsize=6)
        axes.set_xlabel(f"entries of codebook {number} that are used ({sums.shape[1]})")
    figure.colorbar(image, ax=both, label="share of the entry's frames", shrink=0.5)
    return figure


def as_svg(figure: Figure) -> str:
    """A picture as an `<svg>` element, the same each time it is drawn."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "w2v2"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawing = text.getvalue()
    return drawing[drawing.index("<svg") :]


def _figure(size: tuple[float, float], rows: int = 0) -> tuple[Figure, Any]:
    """A figure and its axes; rows: how many of these, 0 for one that is no list."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("The page needs matplotlib: pip install 'w2v2[plots]'.") from None
    figure = Figure(size, layout="constrained")
    if not rows:
        axes: Axes = figure.subplots()
        return figure, axes
    return figure, list(figure.subplots(rows, 1, squeeze=False).flat)
