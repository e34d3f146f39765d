"""Utterances on a page: their errors in colour, their sound, what the network heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from w2v2cli.console import counted
from w2v2cli.recognition.pages.markup import shown
from w2v2cli.recognition.scoring.error_rate import Alignment, Step
from w2v2cli.recognition.scoring.results import Evaluation, Scored

LEGEND = (
    '<p class="legend">In the texts: words as they were said and heard; '
    "<del>said, not heard</del>; <ins>heard, not said</ins>; "
    '<span class="swap"><del>said</del><ins>but heard as this</ins></span>.</p>'
)
PICTURE_LEGEND = (
    '<p class="legend">In the pictures each column is one frame of the network and each row a '
    "symbol: the deeper the blue, the likelier it was (by the square root of its probability). "
    "Dots mark where the symbols of the path that was found begin, boxes the time of each word. "
    "Click on a picture to hear that place. With the keyboard: space plays and pauses, the arrow "
    "keys go from word to word.</p>"
)


@dataclass(frozen=True)
class Told:
    """What is shown of an utterance beside its errors."""

    other: Alignment | None = None
    """What another system heard."""
    sound: str | None = None
    """A data URI."""
    picture: str | None = None
    """HTML."""
    without: str | None = None
    """Why there is no sound or picture, as a sentence."""


def coloured(alignment: Alignment) -> str:
    """A reference with its differences: deleted and inserted words marked, as HTML."""
    parts = [_step(step) for step in alignment.steps()]
    return alignment.between.join(parts) or "<i>nothing</i>"


def _step(step: Step) -> str:
    said, heard = shown(step.reference), shown(step.hypothesis)
    return {
        "equal": said,
        "substitute": f'<span class="swap"><del>{said}</del><ins>{heard}</ins></span>',
        "delete": f"<del>{said}</del>",
        "insert": f"<ins>{heard}</ins>",
    }[step.operation]


def card(result: Evaluation, scored: Scored, told: Told, place: int = 0) -> str:
    """An utterance as HTML. place: in its corpus, from 0."""
    errors = result.counts_of(scored.alignment).errors
    more = 0 if told.other is None else result.counts_of(told.other).errors - errors
    texts = [("", scored.alignment)]
    if told.other is not None:
        texts = [("A", scored.alignment), ("B", told.other)]
    lines = "".join(_line(letter, alignment) for letter, alignment in texts)
    parts = [
        f"<h4><bdi>{shown(scored.id)}</bdi> <small>{_facts(result, scored, told)}</small></h4>"
    ]
    parts.append(lines)
    if told.sound is not None:
        label = shown(f"Recording of {scored.id}")
        parts.append(
            f'<audio controls preload="metadata" aria-label="{label}" src="{told.sound}"></audio>'
        )
    if told.picture is not None:
        parts.append(told.picture)
    if told.without is not None:
        parts.append(f'<p class="legend">{shown(told.without)}</p>')
    values = f'data-errors="{errors}" data-more="{more}" data-place="{place}"'
    return f'<article class="utterance" {values}>{"".join(parts)}</article>'


def _line(letter: str, alignment: Alignment) -> str:
    head = f"<b>{letter}</b> " if letter else ""
    return f'<p class="text">{head}<span dir="auto">{coloured(alignment)}</span></p>'


def _facts(result: Evaluation, scored: Scored, told: Told) -> str:
    counts = result.counts_of(scored.alignment)
    facts = [f"{counted(counts.errors, 'error')} in {counts.reference} {result.counted}"]
    if told.other is not None:
        facts = [f"A: {facts[0]}", f"B: {counted(result.counts_of(told.other).errors, 'error')}"]
    if scored.seconds is not None:
        facts.append(f"{scored.seconds:.1f} s")
    if scored.speaker is not None:
        facts.append(f"speaker {scored.speaker}")
    return shown(" · ".join(facts))


def cards(result: Evaluation, several: Sequence[tuple[Scored, Told]]) -> str:
    """Utterances one under the other, as HTML, with what orders and finds them."""
    orders = [("errors", "most errors first"), ("place", "as in the corpus")]
    if any(told.other is not None for _, told in several):
        orders[0] = ("errors", "most errors of A first")
        orders[1:1] = [
            ("more", "where B has more errors than A"),
            ("less", "where B has fewer errors than A"),
        ]
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in orders)
    places = {scored.id: place for place, scored in enumerate(result.utterances)}
    found = "".join(card(result, scored, told, places[scored.id]) for scored, told in several)
    return (
        f'<div class="tools" hidden><label>Order: <select>{options}</select></label>'
        '<label>Find: <input type="search" placeholder="a word or a name"></label></div>'
        f'<div class="utterances">{found}</div>'
    )
