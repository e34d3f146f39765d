"""Error rates as a table for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from w2v2cli.console import stdout_console
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, bootstrap_interval
from w2v2cli.recognition.scoring.results import Evaluation, Scored, Unit

STYLES = {"substitute": "yellow", "delete": "red", "insert": "blue"}
NO_RATE = "-"  # where nothing was transcribed
SPEAKERS_SHOWN = 20


def json_report(
    results: Sequence[Evaluation], options: RecognitionOptions, seed: int
) -> dict[str, Any]:
    """The settings and, for each corpus, its errors; rates are ratios.

    seed: of the bootstrap.
    """
    second = options.rescore
    return {
        "model": options.model.title,
        "lm": options.lm.name,
        "search": {
            "engine": options.engine,
            "beam": options.beam.width,
            "beam_threshold": options.beam.threshold,
            "lm_weight": options.weights.lm_weight,
            "word_score": options.weights.word_score,
            "hotwords": options.hotwords,
        },
        "rescore": None
        if second is None
        else {
            "lm": second.lm.name,
            "nbest": second.nbest,
            "lm_weight": second.weights.lm_weight,
            "word_score": second.weights.word_score,
            "first_weight": second.first_pass_weight,
        },
        "results": [_json_result(result, seed) for result in results],
    }


def _json_result(result: Evaluation, seed: int) -> dict[str, Any]:
    low, high = bootstrap_interval([scored.alignment.words for scored in result.utterances], seed)
    name = result.rate_name.lower()
    any_scored = bool(result.utterances)  # of nothing there is no rate
    characters = {
        "cer": result.characters.rate if any_scored else None,
        "characters": _json_counts(result.characters),
    }
    return {
        "data": result.name,
        "note": result.note,
        "utterances": len(result.utterances),
        "failed": len(result.failures),
        name: result.words.rate if any_scored else None,
        f"{name}_interval_95": [low, high] if any_scored else None,
        result.unit: _json_counts(result.words),
        **(characters if result.unit == "words" else {}),
        "speakers": {name: counts.rate for name, counts in result.by_speaker().items()},
        "audio_seconds": round(result.audio_seconds, 3),
        "wall_seconds": round(result.wall_seconds, 3),
        "times_real_time": round(result.audio_seconds / max(result.wall_seconds, 1e-9), 2),
    }


def _json_counts(counts: ErrorCounts) -> dict[str, int]:
    return {
        "reference": counts.reference,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }


def print_report(
    results: Sequence[Evaluation], options: RecognitionOptions, worst: int, seed: int
) -> None:
    """Print tables on stdout: totals, speakers, the worst utterances.

    worst: number of utterances of each corpus shown with their alignment.
    seed: of the bootstrap.
    """
    console = stdout_console()
    search = "greedy" if options.engine == "greedy" else f"beam {options.beam.width}"
    weights = (
        f", LM weight {options.weights.lm_weight:g}, word score {options.weights.word_score:g}"
    )
    settings = (
        f"{options.model.title}, LM {options.lm.name}, {search}{weights if options.lm.path else ''}"
    )
    if (second := options.rescore) is not None:
        again = f"LM weight {second.weights.lm_weight:g}, word score {second.weights.word_score:g}"
        settings += f"; {second.nbest} scored again by {second.lm.name}, {again}"
    console.print(_totals(results, settings, seed))
    for result in results:
        if result.note:
            console.print(f"* {result.note}")
    for result in results:
        if len(result.by_speaker()) > 1:
            console.print(_speakers(result))
        for scored in result.worst(worst):
            console.print(_aligned(scored, result.unit))


def _totals(results: Sequence[Evaluation], settings: str, seed: int) -> Table:
    table = Table(title=settings)
    unit, name = results[0].unit, results[0].rate_name  # a model has one kind of output
    by_character = ["CER %"] if unit == "words" else []
    for column in (
        "data",
        "utterances",
        unit,
        f"{name} %",
        "95%",
        "sub",
        "del",
        "ins",
        *by_character,
        "× real time",
    ):
        table.add_column(column, justify="left" if column == "data" else "right")
    for result in results:
        words = result.words
        characters = f"{result.characters.rate * 100:.2f}" if result.utterances else NO_RATE
        low, high = bootstrap_interval(
            [scored.alignment.words for scored in result.utterances], seed
        )
        table.add_row(
            result.name + ("*" if result.note else ""),
            str(len(result.utterances)),
            str(words.reference),
            f"{words.rate * 100:.2f}" if result.utterances else NO_RATE,
            f"{low * 100:.1f} to {high * 100:.1f}" if result.utterances else NO_RATE,
            str(words.substitutions),
            str(words.deletions),
            str(words.insertions),
            *([characters] if by_character else []),
            f"{result.audio_seconds / max(result.wall_seconds, 1e-9):.1f}",
        )
    return table


def _speakers(result: Evaluation) -> Table:
    speakers = result.by_speaker()
    title = f"{result.name} by speaker"
    if len(speakers) > SPEAKERS_SHOWN:
        title += f", the worst {SPEAKERS_SHOWN}"
    table = Table(title=title)
    for column in ("speaker", result.unit, f"{result.rate_name} %"):
        table.add_column(column, justify="left" if column == "speaker" else "right")
    for speaker, counts in list(speakers.items())[:SPEAKERS_SHOWN]:
        table.add_row(speaker, str(counts.reference), f"{counts.rate * 100:.2f}")
    return table


def _aligned(scored: Scored, unit: Unit) -> Text:
    """An utterance with its errors in colour and in signs.

    -deleted- +inserted+ reference>hypothesis
    """
    words = scored.alignment.words
    text = Text(f"{scored.id} ({words.errors} errors in {words.reference} {unit}) ", style="bold")
    for operation, reference, hypothesis in scored.alignment.steps():
        shown = {
            "equal": reference,
            "delete": f"-{reference}-",
            "insert": f"+{hypothesis}+",
            "substitute": f"{reference}>{hypothesis}",
        }[operation]
        text.append(f"{shown} ", style=f"not bold {STYLES.get(operation, '')}".strip())
    return text
