"""Error rates as tables with a bar for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from w2v2cli.recognition.pages.markup import shown
from w2v2cli.recognition.scoring.breakdown import Confusions, Group
from w2v2cli.recognition.scoring.comparing import SIGNIFICANT, Compared
from w2v2cli.recognition.scoring.error_rate import total

ROUND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # percent at which an axis may end
NO_RATE = "–"


def rate_table(caption: str, first: str, counted: str, rate: str, groups: Sequence[Group]) -> str:
    """A table of groups with their rates in percent, their intervals, and a bar for each.

    caption: HTML. first: heading of the names. counted: words, characters or phones.
    """
    most = axis_end([(g.interval or (0.0, g.counts.rate))[1] for g in groups])
    rows = "".join(_rate_row(group, most) for group in groups)
    return (
        f'<table class="rates"><caption>{caption}</caption><thead><tr>'
        f'<th scope="col">{shown(first)}</th>'
        f'<th scope="col" class="number wide">utterances</th>'
        f'<th scope="col" class="number">{counted}</th>'
        f'<th scope="col" class="number">{rate} %</th>'
        f'<th scope="col" class="number">95% interval</th>'
        f'<th scope="col" class="bar"><span>0</span><span>{rate} %</span>'
        f"<span>{most:g}</span></th></tr></thead><tbody>{rows}</tbody></table>"
    )


def axis_end(rates: Sequence[float]) -> float:
    """The percentage at which an axis for these rates (ratios) ends."""
    highest = max((rate for rate in rates if math.isfinite(rate)), default=0.0) * 100
    return next((end for end in ROUND if highest <= end), math.ceil(highest))


def _rate_row(group: Group, most: float) -> str:
    counts, interval = group.counts, group.interval
    told = NO_RATE
    if interval is not None:
        told = f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f}"
    rate = f"{counts.rate * 100:.2f}" if group.utterances else NO_RATE
    return (
        f'<tr><th scope="row"><bdi>{shown(group.name)}</bdi></th>'
        f'<td class="number wide">{group.utterances}</td>'
        f'<td class="number">{counts.reference}</td><td class="number">{rate}</td>'
        f'<td class="number">{told}</td><td class="bar">{_bar(group, most)}</td></tr>'
    )


def _bar(group: Group, most: float) -> str:
    """A bar as long as the rate, the interval as a line over its end; the axis has 100 units."""
    scale = 100 * 100 / most
    interval = ""
    if group.interval is not None:
        low, high = (bound * scale for bound in group.interval)
        interval = (
            f'<rect class="interval" x="{low:.2f}" y="4" width="{high - low:.2f}" height="2"/>'
        )
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rate" y="1" width="{group.counts.rate * scale:.2f}" height="8"/>'
        f"{interval}</svg>"
    )


def confusion_tables(found: Confusions, counted: str) -> str:
    """The commonest errors of each kind, side by side."""
    one = counted.removesuffix("s")
    swapped = "".join(
        f"<tr><td>{_word(said)}</td><td>{_word(heard)}</td>{_count(n)}</tr>"
        for (said, heard), n in found.substitutions
    )
    missed = "".join(f"<tr><td>{_word(word)}</td>{_count(n)}</tr>" for word, n in found.deletions)
    added = "".join(f"<tr><td>{_word(word)}</td>{_count(n)}</tr>" for word, n in found.insertions)
    return (
        '<div class="side">'
        + "".join(
            _confusions(caption, heads, rows)
            for caption, heads, rows in (
                (f"One {one} taken for another", ("said", "heard"), swapped),
                ("Said, not heard", (one,), missed),
                ("Heard, not said", (one,), added),
            )
        )
        + "</div>"
    )


def _confusions(caption: str, heads: Sequence[str], rows: str) -> str:
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    none = f'<tr><td colspan="{len(heads) + 1}">none</td></tr>'
    return (
        f"<table><caption>{caption}</caption><thead><tr>{columns}"
        f'<th scope="col" class="number">times</th></tr></thead>'
        f"<tbody>{rows or none}</tbody></table>"
    )


def _word(text: str) -> str:
    return f"<bdi>{shown(text)}</bdi>"


def _count(number: int) -> str:
    return f'<td class="number">{number}</td>'


def difference_table(found: Sequence[Compared]) -> str:
    """Two systems side by side, A the evaluated one."""
    rate = found[0].difference.rate_name
    heads = (f"A: {rate} %", f"B: {rate} %", "B − A, points", "95% interval", "p")
    columns = "".join(f'<th scope="col" class="number">{head}</th>' for head in heads)
    return (
        '<table class="rates"><thead><tr><th scope="col">data</th>'
        f'<th scope="col" class="number wide">utterances of both</th>{columns}</tr></thead>'
        f"<tbody>{''.join(map(_difference_row, found))}</tbody></table>"
    )


def _difference_row(found: Compared) -> str:
    difference = found.difference
    theirs = total(found.theirs.counts_of(s.alignment) for s in found.theirs.utterances)
    bold = difference.p_value < SIGNIFICANT
    p_value = f"<strong>{difference.p_value:.4f}</strong>" if bold else f"{difference.p_value:.4f}"
    values = (
        f"{found.ours.rate * 100:.2f}",
        f"{theirs.rate * 100:.2f}",
        f"{difference.points * 100:+.2f}",
        " to ".join(f"{bound * 100:+.2f}" for bound in difference.interval),
        p_value,
    )
    return (
        f'<tr><th scope="row"><bdi>{shown(found.corpus)}</bdi></th>'
        f'<td class="number wide">{difference.utterances}</td>'
        + "".join(f'<td class="number">{value}</td>' for value in values)
        + "</tr>"
    )
