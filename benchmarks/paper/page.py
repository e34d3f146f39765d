"""The page of an experiment: HTML that needs no other file, and Markdown beside its plots."""

from __future__ import annotations

import html
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper.cells import Cell
from benchmarks.paper.data import FIRST
from benchmarks.paper.jobs import Place, figures_file, read_figures
from benchmarks.paper.plots import as_svg
from benchmarks.paper.results import Results
from benchmarks.paper.sections import Section, sections
from storage.whole import write_whole
from w2v2cli.errors import UserError

LARGEST = 1_000_000  # bytes of the pictures of a page that a repository keeps
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}
td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right;font-weight:normal}
td,tbody th{white-space:nowrap} figure{margin:1em 0}
td:first-child,th:first-child{text-align:left} thead th{font-weight:600;border-color:#999}
.wide{overflow-x:auto} svg{max-width:100%;height:auto} li{margin:.25em 0}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}
td,th{border-color:#444} svg{background:#fff}}
"""


def write_page(cells: Sequence[Cell], place: Place) -> None:
    """Write page.html, page.md, plots/ and figures.json from the cells that are done."""
    results = Results(place)
    found = sections(results)
    lead = _lead(cells, place, found)
    drawings = _drawings(found)
    _write_pictures(drawings, place.output / "plots", "")
    title = _title(cells, place)
    lines = _markdown(title, lead, found, "plots/")
    write_whole(place.output / "page.md", "\n".join(lines) + "\n")
    write_whole(place.output / "page.html", "\n".join(_html(title, lead, found, drawings)) + "\n")
    every = {cell.name: results.figures(cell.name) for cell in cells}
    write_whole(place.output / "figures.json", json.dumps(every) + "\n")


def publish(cells: Sequence[Cell], place: Place, page: Path) -> None:
    """Write the Markdown page to another place, with its pictures in `images/` beside it.

    A page whose cells are not all done says so in its title. Pictures that an earlier page of the
    same name had, and this one has not, are deleted. Raises UserError where no cell is done, and
    where the pictures are too large for a repository.
    """
    if not any(_is_done(place, cell) for cell in cells):
        raise UserError(
            f"{place.output} has no figures yet: do the cells first, without --publish."
        )
    found = sections(Results(place))
    drawings = _drawings(found)
    size = sum(len(drawing.encode()) for drawing in drawings.values())
    if size > LARGEST:
        raise UserError(
            f"The pictures take {size / 1e6:.1f} MB, and a published page has at most "
            f"{LARGEST / 1e6:.0f} MB: nothing was written."
        )
    folder, prefix = page.parent / "images", f"{page.stem}-"
    _write_pictures(drawings, folder, prefix)
    lines = _markdown(_title(cells, place), _lead(cells, place, found), found, f"images/{prefix}")
    write_whole(page, "\n".join(lines) + "\n")
    for picture in folder.glob(f"{prefix}*.svg"):
        if picture.stem.removeprefix(prefix) not in drawings:
            picture.unlink()


def _drawings(found: Sequence[Section]) -> dict[str, str]:
    return {name: as_svg(p) for part in found for name, p in part.pictures.items()}


def _write_pictures(drawings: Mapping[str, str], folder: Path, prefix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        write_whole(folder / f"{prefix}{name}.svg", drawing)


def _is_done(place: Place, cell: Cell) -> bool:
    return figures_file(place.output, cell.name).is_file()


def _title(cells: Sequence[Cell], place: Place) -> str:
    unfinished = "" if all(_is_done(place, cell) for cell in cells) else " (unfinished)"
    return f"The paper in miniature: {place.scale.name}{unfinished}"


def _lead(cells: Sequence[Cell], place: Place, found: Sequence[Section]) -> list[str]:
    """The sentences that the page begins with."""
    done = [cell.name for cell in cells if _is_done(place, cell)]
    taken = [_taken(place, name) for name in done]
    seconds, used = (sum(column) for column in zip(*taken, strict=True)) if taken else (0.0, 0.0)
    verdicts = Counter(verdict for part in found for verdict in part.verdicts)
    compared = sum(verdicts.values())
    scale = place.scale
    budget = "" if place.budget == 1 else f" --budget {place.budget:g}"
    lines = [
        f"`python -m benchmarks.paper --scale {scale.name}{budget}`: {len(done)} of {len(cells)} "
        f"cells (trainings, evaluations and other steps) are done. They took {seconds / 60:.0f} "
        f"minutes one after another, in which a core worked for {used / 60:.0f} minutes."
        + ("" if len(done) == len(cells) else " What is missing is a dash or left out."),
        *_speech(place),
        f"Made on {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{_device()}.",
    ]
    if compared:
        lines.append(
            f"Of {compared} claims with an interval {verdicts['shows']} show at this scale, "
            f"{verdicts['does not show']} do not, and of {verdicts['the opposite shows']} the "
            "opposite shows. Intervals are 95% bootstraps over utterances and seeds; none is "
            "corrected for their number."
        )
    return lines


def _speech(place: Place) -> Iterator[str]:
    """What the recordings are, where the cell `data` has chosen them."""
    figures = read_figures(place.output, "data")
    if figures is None or "manifests" not in figures:
        return
    minutes = {name: part["minutes"] for name, part in figures["manifests"].items()}
    unlabelled = sum(minutes[name] for name in place.scale.unlabelled)
    yield (
        f"Speech: {unlabelled:.0f} minutes without transcripts, of readers of LJSpeech, {FIRST} "
        "and LibriSpeech. Transcripts come from the same recordings, the shorter amounts from "
        f"{FIRST} alone. `clean` is held-out speech of {FIRST} ({minutes['test-clean']:.1f} "
        "minutes), `other` is of LibriSpeech's test-other, of readers that were never heard "
        f"({minutes['test-other']:.1f} minutes)."
    )


def _device() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "no GPU"


def _taken(place: Place, cell: str) -> tuple[float, float]:
    """Seconds that a cell took by the clock, and of the processor."""
    found = json.loads(figures_file(place.output, cell).read_text(encoding="utf-8"))
    return float(found["seconds"]), float(found.get("processor_seconds", 0.0))


def _markdown(
    title: str, lead: Sequence[str], found: Sequence[Section], pictures: str
) -> Iterator[str]:
    """The lines of the page; pictures: what their files' names begin with."""
    yield f"# {title}"
    for line in lead:
        yield from ("", _wrapped(line))
    for part in found:
        yield from ("", f"## {part.title}", "", _wrapped(part.about))
        if part.rows:
            yield ""
            yield f"| {' | '.join(part.header)} |"
            yield f"|{'---|' * len(part.header)}"
            yield from (f"| {' | '.join(row)} |" for row in part.rows)
        if part.claims:
            yield ""
            yield from (_wrapped(f"- {claim}", "  ") for claim in part.claims)
        for name in part.pictures:
            what = part.title.partition(" (")[0]
            yield from ("", f"![{what}: {name}]({pictures}{name}.svg)")


def _wrapped(text: str, indent: str = "") -> str:
    import textwrap

    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _html(
    title: str, lead: Sequence[str], found: Sequence[Section], drawings: dict[str, str]
) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
    yield from (f"<p>{_inline(line)}</p>" for line in lead)
    for part in found:
        yield f"<h2>{html.escape(part.title)}</h2><p>{_inline(part.about)}</p>"
        if part.rows:
            head = "".join(f'<th scope="col">{_unbroken(cell)}</th>' for cell in part.header)
            rows = "".join(_html_row(row) for row in part.rows)
            yield (
                f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
                f"<tbody>{rows}</tbody></table></div>"
            )
        if part.claims:
            yield f"<ul>{''.join(f'<li>{_inline(claim)}</li>' for claim in part.claims)}</ul>"
        for name in part.pictures:
            label = html.escape(f"{part.title}: {name}")
            yield f'<figure role="img" aria-label="{label}">{drawings[name]}</figure>'
    yield "</html>"


def _unbroken(text: str) -> str:
    """Escaped, with hyphens at which no line ends."""
    return html.escape(text).replace("-", "\N{NON-BREAKING HYPHEN}")


def _html_row(row: Sequence[Any]) -> str:
    first, *others = (html.escape(str(cell)) for cell in row)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{c}</td>" for c in others)}</tr>'


def _inline(text: str) -> str:
    """Markdown's code and bold in HTML, all else escaped."""
    text = html.escape(text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
