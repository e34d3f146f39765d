"""The picture of a look: waveform, emissions with the path found, codes, over one axis of time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.config import SAMPLE_RATE
from storage.whole import whole_file
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.inspecting.looking import Emissions, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
LEAST = 0.1  # probability from which on a symbol has a row
MOST_ROWS = 48
INCHES_PER_SECOND = 1.25
NARROWEST, WIDEST = 8.0, 60.0  # inches
ROW, WAVE, BOOK = 0.19, 1.5, 1.6  # inches of a symbol's row, of the waveform, of a codebook
DPI = 110
LETTER = 0.105  # inches of a letter of a word
LEVELS = 2  # heights at which the names of words stand, by turns, where they would overlap
PATH, BORDER = "#d1495b", "#888888"


def check_suffix(output: Path) -> None:
    """Raise UsageError for a file that no picture is drawn as."""
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Pictures are drawn as .png, .svg or .pdf, got {output.name}: change its suffix."
        )


def draw(look: Look, output: Path) -> None:
    """Draw a look into a file, whole or not at all; its suffix tells the format.

    Raises UsageError for another suffix, UserError without matplotlib.
    """
    check_suffix(output)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Pictures need matplotlib: pip install 'w2v2[plots]'.") from None
    heights = [WAVE]
    rows = [] if look.emissions is None else shown_rows(look.emissions)
    if look.emissions is not None:
        heights.append(ROW * max(len(rows), 6))
    books = 0 if look.codes is None else look.codes.shape[1]
    heights += [BOOK] * books
    width = min(max(INCHES_PER_SECOND * look.seconds, NARROWEST), WIDEST)
    figure = Figure((width, sum(heights) + 1.2), layout="constrained")
    panels = list(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).flat
    )
    figure.suptitle(_title(look), fontsize=10, x=0.01, ha="left")
    _wave(panels[0], look, width)
    if look.emissions is not None:
        _emissions(panels[1], look, look.emissions, rows, figure)
    for book in range(books):
        _codes(panels[len(heights) - books + book], look, book)
    figure.align_ylabels()
    panels[-1].set_xlabel("time, s", fontsize=9)
    panels[0].set_xlim(look.start, look.start + look.seconds)
    panels[0].xaxis.set_major_locator(_ticks(look.seconds))
    with whole_file(output) as beside:
        figure.savefig(beside, dpi=DPI, format=output.suffix[1:].lower())


def _title(look: Look) -> str:
    name = Path(look.name).name.encode(errors="replace").decode()
    return f"{name}, {look.start:g} to {look.start + look.seconds:.1f} s".replace("$", r"\$")


def _ticks(seconds: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(0.5 if seconds <= 30 else 1.0)


def shown_rows(emissions: Emissions) -> list[int]:
    """The symbols that have a row: those of the path, and those that are likely somewhere.

    Blank and word boundary come first, the others in the order of the alphabet.
    """
    vocabulary = emissions.vocabulary
    likely = np.exp(emissions.log_probs.max(0, initial=-np.inf))
    likely[np.unique(emissions.path)] = 2.0  # before all others
    chosen = [int(i) for i in np.argsort(-likely, kind="stable")[:MOST_ROWS] if likely[i] >= LEAST]
    first = (vocabulary.blank, vocabulary.word_boundary)
    return sorted(
        chosen,
        key=lambda s: (first.index(s) if s in first else len(first), vocabulary.symbols[s]),
    )


def _wave(axes: Axes, look: Look, width: float) -> None:
    """The waveform as the band between its lowest and highest sample at each pixel."""
    columns = min(int(width * DPI), len(look.samples))
    edges = np.linspace(0, len(look.samples), columns + 1).astype(int)[:-1]
    times = look.start + edges / SAMPLE_RATE
    low = np.minimum.reduceat(look.samples, edges)
    high = np.maximum.reduceat(look.samples, edges)
    axes.fill_between(times, low, high, step="post", linewidth=0.4, color="#30638e")
    loudest = max(float(np.abs(look.samples).max()), 1e-4)
    axes.set_ylim(-1.05 * loudest, 1.05 * loudest)
    axes.set_ylabel("amplitude\n(full scale 1)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(axis="x", alpha=0.25)
    if look.emissions is not None:
        _words(axes, look, look.emissions, width)


def _words(axes: Axes, look: Look, emissions: Emissions, width: float) -> None:
    """The words above the waveform, between lines where they begin and end."""
    shift = axes.get_xaxis_transform()
    per_inch = look.seconds / width
    free = [-1.0] * LEVELS  # where the last name on each height ends
    for text, first, end in emissions.words:
        begin, last = look.start + first, look.start + end
        axes.axvspan(begin, last, color="#fbe8c4", linewidth=0, zorder=0)
        middle, half = (begin + last) / 2, len(text) * LETTER * per_inch / 2
        level = next((i for i in range(LEVELS) if free[i] <= middle - half), LEVELS - 1)
        free[level] = middle + half
        plain = text.replace("$", r"\$")
        axes.text(
            *(middle, 1.04 + 0.13 * level, plain),
            transform=shift,
            ha="center",
            va="bottom",
            fontsize=8,
            clip_on=False,
        )


def _emissions(axes: Axes, look: Look, emissions: Emissions, rows: list[int], figure: Any) -> None:
    """Probabilities as shades, and the path as dots where it is on a symbol."""
    vocabulary, frame = emissions.vocabulary, look.frame_seconds
    probable = np.exp(emissions.log_probs[:, rows]).T  # (T, V) -> (R, T)
    end = look.start + len(emissions.path) * frame
    image = axes.imshow(
        probable,
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(look.start, end, len(rows) - 0.5, -0.5),
    )
    places = {symbol: row for row, symbol in enumerate(rows)}
    heard = [(t, places[s]) for t, s in enumerate(emissions.path.tolist()) if s != vocabulary.blank]
    times = [look.start + (t + 0.5) * frame for t, _ in heard]
    axes.plot(times, [row for _, row in heard], ".", markersize=4, color=PATH, label="path found")
    for _, first, last in emissions.words:
        for border in (first, last):
            axes.axvline(look.start + border, color=BORDER, linewidth=0.4)
    names = {vocabulary.blank: "blank", vocabulary.word_boundary: "| (word ends)"}
    labels = [names.get(symbol, vocabulary.symbols[symbol]) for symbol in rows]
    axes.set_yticks(range(len(rows)), [label.replace("$", r"\$") for label in labels], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("symbol", fontsize=8)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7, frameon=False)
    bar = figure.colorbar(image, ax=axes, pad=0.005, fraction=0.02, aspect=25)
    bar.set_label("probability", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _codes(axes: Axes, look: Look, book: int) -> None:
    """The entry that stands for each frame, as a dash of the frame's length."""
    assert look.codes is not None
    codes = look.codes[:, book]
    times = look.start + np.arange(len(codes)) * look.frame_seconds
    axes.hlines(codes, times, times + look.frame_seconds, linewidth=2.0, color=f"C{book}")
    axes.set_ylim(-0.02 * look.entries, 1.02 * look.entries)
    axes.set_ylabel(f"codebook {book + 1},\nentry 0 to {look.entries - 1}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    used = len(np.unique(codes))
    axes.set_title(f"{used} of {look.entries} entries used", fontsize=8, loc="right", pad=2)
