"""The report on an evaluation as one page (`w2v2 eval --report`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from w2v2cli import __version__
from w2v2cli.console import counted
from w2v2cli.recognition.pages.markup import page, shown
from w2v2cli.recognition.pages.tables import confusion_tables, difference_table, rate_table
from w2v2cli.recognition.pages.utterances import LEGEND, PICTURE_LEGEND, Told, cards
from w2v2cli.recognition.scoring.breakdown import (
    Group,
    by_frequency,
    by_length,
    by_speaker,
    confusions,
    whole,
)
from w2v2cli.recognition.scoring.comparing import Compared
from w2v2cli.recognition.scoring.results import Evaluation

SPEAKERS = 100  # rows of the table by speaker
CONFUSIONS = 20  # rows of each table of confusions
MOST_TEXTS = 1000  # utterances of a corpus whose text is shown
INTERVALS = (
    "Intervals are 95% bootstraps over utterances; those of a handful of utterances are narrower "
    "than they should be."
)


@dataclass(frozen=True)
class Subject:
    """What a report is on, beside the errors."""

    title: str
    """What the evaluated system is called."""
    settings: str
    """All settings in one line."""
    seed: int
    """Of the bootstraps."""
    compared: Sequence[Compared] = ()
    told: Mapping[tuple[str, str], Told] = field(default_factory=dict)
    """By (corpus, utterance), those that have sound or a picture."""


def evaluation_page(results: Sequence[Evaluation], subject: Subject) -> str:
    """The whole page."""
    names = ", ".join(result.name for result in results)
    title = f"Errors of {subject.title} on {names}"
    sections = [_totals(results, subject)]
    if subject.compared:
        sections.append(_comparison(subject))
    sections += [_corpus(number, result, subject) for number, result in enumerate(results, 1)]
    body = (
        f"<header><h1>{shown(title)}</h1>{_links(results, subject)}</header>"
        f"<main>{''.join(sections)}</main>"
        f"<footer><p>Settings: {shown(subject.settings)}.</p>"
        f"<p>Made by w2v2 {__version__}.</p></footer>"
    )
    return page(title, body, "evaluation.js")


def _links(results: Sequence[Evaluation], subject: Subject) -> str:
    items = [_link("rates", "Error rates")]
    if subject.compared:
        items.append(_link("compared", "Two systems"))
    for number, result in enumerate(results, 1):
        count = _link(f"utterances-{number}", counted(len(result.utterances), "utterance"))
        items.append(f"{_link(f'corpus-{number}', result.name)} ({count})")
    return f"<nav><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul></nav>"


def _link(target: str, text: str) -> str:
    return f'<a href="#{target}">{shown(text)}</a>'


def _totals(results: Sequence[Evaluation], subject: Subject) -> str:
    names = " / ".join(dict.fromkeys(result.rate_name for result in results))
    counted = " / ".join(dict.fromkeys(result.counted for result in results))
    groups = [whole(result, subject.seed) for result in results]
    table = rate_table("By corpus", "data", counted, names, groups)
    notes = "".join(_note(result) for result in results if result.note)
    return (
        f'<section id="rates"><h2>Error rates</h2>{table}'
        f'<p class="legend">{names}: errors (substituted, deleted and inserted {counted}) '
        f"in a hundred {counted} of the reference. {INTERVALS}</p>{notes}</section>"
    )


def _note(result: Evaluation) -> str:
    return f"<p><bdi>{shown(result.name)}</bdi>: {shown(result.note or '')}</p>"


def _comparison(subject: Subject) -> str:
    found = subject.compared
    sentences = "".join(f"<p>{shown(one.difference.sentence())}</p>" for one in found)
    return (
        f'<section id="compared"><h2>Two systems</h2><p>A is <bdi>{shown(subject.title)}</bdi>, '
        f"B is <bdi>{shown(found[0].theirs.name)}</bdi>. Both are counted on the utterances that "
        f"both have, spelled in the same way.</p>{difference_table(found)}{sentences}"
        '<p class="legend">p: how often the totals would differ as much by chance if the systems '
        "were equally good, by a matched-pairs test: each utterance's two texts are exchanged at "
        "random. Below 0.05 it is bold. The interval is a paired bootstrap over "
        "utterances.</p></section>"
    )


def _corpus(number: int, result: Evaluation, subject: Subject) -> str:
    parts = [f'<section id="corpus-{number}"><h2><bdi>{shown(result.name)}</bdi></h2>']
    if not result.utterances:
        parts.append(f'<p id="utterances-{number}">No utterance was transcribed.</p>')
    else:
        parts += [_where(result, subject.seed), _which(result), _each(number, result, subject)]
    return "".join([*parts, _failed(result), "</section>"])


def _where(result: Evaluation, seed: int) -> str:
    """The tables of rates by speaker, by length and by frequency."""
    counted, rate = result.counted, result.rate_name
    speakers = by_speaker(result, seed)
    kept = f", the {SPEAKERS} with the highest rate" if len(speakers) > SPEAKERS else ""
    frequency = f"By how often the references have the {counted.removesuffix('s')}"
    tables: list[tuple[str, str, str, list[Group]]] = [
        (f"By speaker{kept}", "speaker", rate, speakers[:SPEAKERS] if len(speakers) > 1 else []),
        ("By length of the recording", "length", rate, by_length(result, seed)),
        (frequency, "said", "wrong", by_frequency(result, seed)),
    ]
    legend = (
        f'<p class="legend">The last table tells how many {counted} of the references were '
        f"substituted or deleted; insertions belong to none of them. {INTERVALS}</p>"
    )
    return (
        "".join(
            rate_table(caption, first, counted, told, groups)
            for caption, first, told, groups in tables
            if groups
        )
        + legend
    )


def _which(result: Evaluation) -> str:
    tables = confusion_tables(confusions(result, CONFUSIONS), result.counted)
    return f"<h3>The commonest errors</h3>{tables}"


def _each(number: int, result: Evaluation, subject: Subject) -> str:
    """The utterances, those with the most errors first."""
    others = {
        (one.corpus, scored.id): scored.alignment
        for one in subject.compared
        for scored in one.theirs.utterances
    }
    ranked = result.ranked()[:MOST_TEXTS]
    pairs = []
    for scored in ranked:
        told = subject.told.get((result.name, scored.id), Told())
        pairs.append((scored, replace(told, other=others.get((result.name, scored.id)))))
    kept = (
        f"The {len(ranked)} with the most errors of " if len(result.utterances) > MOST_TEXTS else ""
    )
    heard = sum(told.sound is not None for _, told in pairs)
    sentence = (
        f"{kept}{counted(len(result.utterances), 'utterance')}, those with the most errors first; "
        f"{heard} with the recording."
    )
    legends = LEGEND + (PICTURE_LEGEND if heard else "")
    return (
        f'<h3 id="utterances-{number}">Utterances</h3><p>{sentence}</p>'
        f"{legends}{cards(result, pairs)}"
    )


def _failed(result: Evaluation) -> str:
    if not result.failures:
        return ""
    items = "".join(
        f"<li><bdi>{shown(failure.id)}</bdi>: {shown(failure.error)}</li>"
        for failure in result.failures
    )
    return f"<h3>Not counted</h3><ul>{items}</ul>"
