"""The tables of docs/peers.md, and the figures beside it from which they are written."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.whole import write_whole
from w2v2cli.console import counted
from w2v2cli.errors import UserError

BEGIN = "<!-- measured: begin (python -m benchmarks.peers --write PAGE) -->\n"
END = "<!-- measured: end -->\n"
WIDTH = 98
Summary = dict[str, Any]


def merged(
    recordings: dict[str, Any],
    summaries: Sequence[Summary],
    earlier: dict[str, Any] | None,
    order: Sequence[str],
) -> tuple[dict[str, Any], list[str]]:
    """Figures of this call, and those of an earlier one of systems that this one has not.

    Figures of other recordings cannot stand beside these: the titles of systems that are dropped
    for this are returned too. order: names of systems.
    """
    new = {one["peer"]: one for one in summaries}
    old = [] if earlier is None else [one for one in earlier["systems"] if one["peer"] not in new]
    dropped: list[str] = []
    if earlier is not None and earlier["recordings"]["digest"] != recordings["digest"]:
        old, dropped = [], [one["title"] for one in old]
    systems = [*summaries, *old]
    systems.sort(key=lambda one: order.index(one["peer"]) if one["peer"] in order else len(order))
    return {"recordings": recordings, "systems": systems}, dropped


def tables(figures: dict[str, Any]) -> str:
    """What stands between the marks of the page, in Markdown."""
    systems, corpora = figures["systems"], figures["recordings"]["corpora"]
    utterances = sum(corpus["utterances"] for corpus in corpora.values())
    seconds = sum(corpus["seconds"] for corpus in corpora.values())
    threads = sorted({one["threads"] for one in systems})
    told = (
        f"{counted(utterances, 'recording')}, {seconds / 60:.1f} minutes, one after another; "
        f"{' or '.join(counted(number, 'thread') for number in threads)} a system. "
        "Word error rates in percent with their 95% intervals (bootstrap over recordings). "
        f"{_load(systems)}"
    )
    versions = ", ".join(
        dict.fromkeys(f"{_program(one)} {one['version']}".strip() for one in systems)
    )
    return "\n\n".join(
        [
            textwrap.fill(told, WIDTH),
            _costs(systems),
            "WER by corpus, with its recordings and minutes:",
            _by_corpus(systems, corpora),
            textwrap.fill(f"Versions: {versions}.", WIDTH),
        ]
    )


def _program(one: Summary) -> str:
    return str(one["program"])


def _load(systems: Sequence[Summary]) -> str:
    """A sentence on what else the machine did: seconds of a busy one are more than they need be."""
    loads = sorted(one["load"] for one in systems)
    cores = max(one["cores"] for one in systems)
    span = f"{loads[0]:g}" if loads[0] == loads[-1] else f"{loads[0]:g} to {loads[-1]:g}"
    return (
        f"Meanwhile {span} processes on average wanted to run on {counted(cores, 'core')}, which "
        "lengthens wall seconds by far more than those of the CPU."
        if loads[-1] > cores
        else f"Meanwhile {span} processes on average wanted to run on {counted(cores, 'core')}."
    )


def _costs(systems: Sequence[Summary]) -> str:
    head = (
        "| | WER | WER, Whisper's spelling | CPU s for 1 s | wall s for 1 s | start, s (CPU) | "
        "weights, MB | packages, MB | memory, MB |"
    )
    lines = [head, "|---|---|---|--:|--:|--:|--:|--:|--:|"]
    for one in systems:
        cells = (
            one["title"],
            _rate(one["wer"]),
            _rate(one["whisper_wer"]),
            f"{one['cpu']:.2f}",
            f"{one['wall']:.2f}",
            f"{one['start']:.1f} ({one['start_cpu']:.1f})",
            f"{one['weights_mb']:.0f}",
            f"{one['packages_mb']}",
            f"{one['memory_mb']}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_corpus(systems: Sequence[Summary], corpora: dict[str, Any]) -> str:
    titles = " | ".join(one["title"] for one in systems)
    lines = [f"| | {titles} |", f"|---|{'---|' * len(systems)}"]
    for name, corpus in corpora.items():
        what = f"{name}: {corpus['utterances']}, {corpus['seconds'] / 60:.1f}"
        rates = " | ".join(_rate(one["wer_by_corpus"].get(name)) for one in systems)
        lines.append(f"| {what} | {rates} |")
    return "\n".join(lines)


def _rate(rate: Sequence[float] | None) -> str:
    if rate is None:
        return "not counted"
    return f"{rate[0]:.1f} ({rate[1]:.1f} to {rate[2]:.1f})"


def figures_of(page: Path) -> dict[str, Any] | None:
    """The figures that a page was last written from; None where there are none."""
    file = page.with_suffix(".json")
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def written(text: str, figures: dict[str, Any]) -> str:
    """A page with its tables brought up to date. Raises UserError where it has no marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"The page needs the lines {BEGIN.strip()} and {END.strip()} once.")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables(figures)}\n\n{END}{after}"


def write_page(page: Path, figures: dict[str, Any]) -> None:
    """Write the tables of a page, and the figures beside it."""
    text = written(page.read_text(encoding="utf-8"), figures)
    lines = json.dumps(figures, indent=1, ensure_ascii=False)
    write_whole(page.with_suffix(".json"), f"{lines}\n")
    write_whole(page, text)
