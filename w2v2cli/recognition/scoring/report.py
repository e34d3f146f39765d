"""Error rates as a table for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from w2v2cli.console import counted, stdout_console
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.aligned import aligned_rows
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, bootstrap_interval
from w2v2cli.recognition.scoring.results import Evaluation, Scored

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
            "recombine": options.beam.recombine,
            "lm_context": options.beam.lm_context,
            "skip_blank": options.beam.skip_blank,
            "mbr": options.beam.mbr_scale if options.beam.mbr else None,
            "lm_weight": options.weights.lm_weight,
            "word_score": options.weights.word_score,
            "hotwords": options.hotwords,
            "hotwords_floor": options.hotwords_floor if options.hotwords else None,
        },
        "second_lm": None
        if (other := options.second_lm) is None
        else {"lm": other.name, "lm_weight": options.weights.second_lm_weight},
        "rescore": None
        if second is None
        else {
            "lm": second.lm.name,
            "over": second.over,
            "nbest": second.nbest if second.over == "nbest" else None,
            "lm_weight": second.weights.lm_weight,
            "word_score": second.weights.word_score,
            "first_weight": second.first_pass_weight,
        },
        "results": json_results(results, seed),
    }


def json_results(results: Sequence[Evaluation], seed: int) -> list[dict[str, Any]]:
    """The errors of each corpus; rates are ratios. seed: of the bootstrap."""
    return [_json_result(result, seed) for result in results]


def _json_result(result: Evaluation, seed: int) -> dict[str, Any]:
    low, high = _interval(result, seed)
    name = result.rate_name.lower()
    any_scored = bool(result.utterances)  # of nothing there is no rate
    beside: dict[str, Any] = {}
    for rate, unit, counts in _others(result):
        beside |= {rate.lower(): counts.rate if any_scored else None, unit: _json_counts(counts)}
    return {
        "data": result.name,
        "note": result.note,
        "normalizer": result.normalizer or None,
        "utterances": len(result.utterances),
        "failed": len(result.failures),
        name: result.first.rate if any_scored else None,
        f"{name}_interval_95": [low, high] if any_scored else None,
        result.counted: _json_counts(result.first),
        **beside,
        "speakers": {name: counts.rate for name, counts in result.by_speaker().items()},
        "audio_seconds": round(result.audio_seconds, 3),
        "wall_seconds": round(result.wall_seconds, 3),
        "times_real_time": round(result.audio_seconds / max(result.wall_seconds, 1e-9), 2),
    }


def _interval(result: Evaluation, seed: int) -> tuple[float, float]:
    return bootstrap_interval([result.counts_of(s.alignment) for s in result.utterances], seed)


def _others(result: Evaluation) -> list[tuple[str, str, ErrorCounts]]:
    """Name, unit and counts of the error rate that stands beside the first; none for phones."""
    if result.counted == "words":
        return [("CER", "characters", result.characters)]
    return [("WER", "words", result.words)] if result.counted == "characters" else []


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
    search = "greedy" if options.engine == "greedy" else f"beam {options.beam.width}"
    weights = (
        f", LM weight {options.weights.lm_weight:g}, word score {options.weights.word_score:g}"
    )
    if (other := options.second_lm) is not None:
        weights += f", LM {other.name} with weight {options.weights.second_lm_weight:g}"
    settings = (
        f"{options.model.title}, LM {options.lm.name}, {search}{weights if options.lm.path else ''}"
    )
    if (second := options.rescore) is not None:
        again = f"LM weight {second.weights.lm_weight:g}, word score {second.weights.word_score:g}"
        settings += f"; {second.what} scored again by {second.lm.name}, {again}"
    spelled = ", ".join(dict.fromkeys(r.normalizer for r in results if r.normalizer))
    if spelled:
        settings += f", normaliser {spelled}"
    print_tables(results, settings, worst, seed)


def print_tables(
    results: Sequence[Evaluation], title: str, worst: int, seed: int, named: bool = False
) -> None:
    """Print tables under a title, see `print_report`.

    named: name the result of each of the worst utterances.
    """
    console = stdout_console()
    console.print(_totals(results, title, seed))
    for result in results:
        if result.note:
            console.print(f"* {result.note}")
    for result in results:
        if len(result.by_speaker()) > 1:
            console.print(_speakers(result))
        for scored in result.worst(worst):
            of = f"{result.name}: " if named else ""
            console.print(_aligned(scored, result, console.width, of))


def _totals(results: Sequence[Evaluation], settings: str, seed: int) -> Table:
    table = Table(title=settings)
    units = " / ".join(dict.fromkeys(result.counted for result in results))
    names = " / ".join(dict.fromkeys(result.rate_name for result in results))
    others = " / ".join(dict.fromkeys(o[0] for result in results for o in _others(result)))
    timed = any(result.wall_seconds for result in results)
    for column in (
        "data",
        "utterances",
        units,
        f"{names} %",
        "95%",
        "sub",
        "del",
        "ins",
        *([f"{others} %"] if others else []),
        *(["× real time"] if timed else []),
    ):
        name = column == "data"  # may be long, and is needed whole
        table.add_column(
            column, justify="left" if name else "right", overflow="fold" if name else "ellipsis"
        )
    for result in results:
        words = result.first
        low, high = _interval(result, seed)
        table.add_row(
            result.name + ("*" if result.note else ""),
            str(len(result.utterances)),
            str(words.reference),
            f"{words.rate * 100:.2f}" if result.utterances else NO_RATE,
            f"{low * 100:.1f} to {high * 100:.1f}" if result.utterances else NO_RATE,
            str(words.substitutions),
            str(words.deletions),
            str(words.insertions),
            *(
                f"{counts.rate * 100:.2f}" if result.utterances else NO_RATE
                for _, _, counts in _others(result)
            ),
            *([f"{result.audio_seconds / max(result.wall_seconds, 1e-9):.1f}"] if timed else []),
        )
    return table


def _speakers(result: Evaluation) -> Table:
    speakers = result.by_speaker()
    title = f"{result.name} by speaker"
    if len(speakers) > SPEAKERS_SHOWN:
        title += f", the worst {SPEAKERS_SHOWN}"
    table = Table(title=title)
    for column in ("speaker", result.counted, f"{result.rate_name} %"):
        table.add_column(column, justify="left" if column == "speaker" else "right")
    for speaker, counts in list(speakers.items())[:SPEAKERS_SHOWN]:
        table.add_row(speaker, str(counts.reference), f"{counts.rate * 100:.2f}")
    return table


def _aligned(scored: Scored, result: Evaluation, width: int, of: str) -> Text:
    """An utterance with its errors, reference over hypothesis; `of` stands before its name."""
    counts, alignment = result.counts_of(scored.alignment), scored.alignment
    errors = counted(counts.errors, "error")
    told = f"{of}{scored.id} ({errors} in {counts.reference} {result.counted})\n"
    rows = aligned_rows(alignment.steps(), width, alignment.between)
    return Text(told, style="bold").append_text(rows)
