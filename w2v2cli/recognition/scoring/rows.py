"""Evaluated utterances as lines of JSON: what ranks hand each other, what `w2v2 eval --output` keeps and goes on from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import Alignment, ErrorCounts
from w2v2cli.recognition.scoring.results import Evaluation, Failure, Scored, scoring
from w2v2cli.recognition.sharing.merging import Row, leftover_rows

if TYPE_CHECKING:
    from w2v2cli.data.corpora.catalogue import CorpusSplit
    from w2v2cli.recognition.pipeline import Pipeline
    from w2v2cli.recognition.recognizer import RecognitionOptions
    from w2v2cli.recognition.sharing.ranks import Ranks

COUNTS = ("reference", "substitutions", "deletions", "insertions")
FIELDS = frozenset(
    {"data", "id", "reference", "hypothesis", "unit", "characters", "audio_seconds", "wall_seconds"}
)


def scored_rows(
    pipeline: Pipeline, part: CorpusSplit, wanted: Sequence[int], settings: str, ranks: Ranks
) -> Iterator[Row]:
    """Transcribe and score the utterances of a corpus that have these numbers: a row for each, or one with its `error`.

    Seconds of work are divided by the number of ranks, so that the rows of all add up to what the clock showed.
    """
    score = scoring(part, pipeline.pool.spec)
    unit = "phones" if pipeline.pool.spec.writes_phones else "words"
    audio, began = pipeline.timings.audio, time.perf_counter()
    outcomes = pipeline.transcribe([part.utterances[number].recorded for number in wanted])
    for number, outcome in zip(wanted, outcomes, strict=True):
        utterance = part.utterances[number]
        row: Row = {"data": part.name, "id": utterance.id}
        if outcome.transcript is None:
            row |= {"error": outcome.error or ""}
        else:
            found = score(utterance, outcome.transcript.text)
            row |= {"reference": found.reference, "hypothesis": found.hypothesis, "unit": unit}
            row |= {unit: _written(found.words), "characters": _written(found.characters)}
        now = time.perf_counter()
        row |= {
            "audio_seconds": pipeline.timings.audio - audio,
            "wall_seconds": (now - began) / ranks.world,
        }
        yield row | {"settings": settings}
        audio, began = pipeline.timings.audio, now


def evaluation_of(part: CorpusSplit, rows: Iterable[tuple[int, Row]]) -> Evaluation:
    """The errors of a corpus, from rows of its utterances by their numbers, in order."""
    scored: list[Scored] = []
    failures: list[Failure] = []
    audio = wall = 0.0
    unit: Any = "words"
    for number, row in rows:
        utterance = part.utterances[number]
        audio, wall = audio + row["audio_seconds"], wall + row["wall_seconds"]
        if "error" in row:
            failures.append(Failure(utterance.id, row["error"]))
            continue
        unit = row["unit"]
        alignment = Alignment(
            row["reference"], row["hypothesis"], _read(row[unit]), _read(row["characters"])
        )
        scored.append(Scored(utterance.id, utterance.speaker, alignment))
    return Evaluation(part.name, part.note, tuple(scored), tuple(failures), audio, wall, unit)


def kept_rows(path: Path, folder: Path, settings: str) -> dict[tuple[str, str], Row]:
    """What earlier calls with these settings heard, by corpus and utterance: the rows of `path`, and those in `folder` that
    were never merged because the first rank died.

    UserError for a file of something else, or of other settings.
    """
    rows = [
        row
        for row in leftover_rows(folder)
        if row.get("settings") == settings and "error" not in row
    ]
    if path.exists():
        rows += _rows_of(path, settings)
    return {
        (row["data"], row["id"]): {key: row[key] for key in row if key != "index"} for row in rows
    }


def _rows_of(path: Path, settings: str) -> list[Row]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        whole = all(
            row.keys() >= FIELDS and _read(row[row["unit"]]) and _read(row["characters"])
            for row in rows
        )
        others = [row["settings"] for row in rows if row["settings"] != settings]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} holds no hypotheses of w2v2 eval: --skip-existing cannot go on from it."
        )
    if others:
        raise UserError(
            f"{path} holds hypotheses of other settings ({others[0]} instead of {settings}): "
            "name another --output, or leave out --skip-existing."
        )
    return rows


def settings_line(options: RecognitionOptions) -> str:
    """Everything that decides what is heard, in a line."""
    beam, weights = options.beam, options.weights
    said = [options.model.name, options.engine]
    if options.engine != "greedy":
        said += [
            f"LM {options.lm.name}",
            f"lexicon {options.lm.lexicon.name if options.lm.lexicon else 'none'}",
        ]
        said += [
            f"beam {beam.width}",
            f"threshold {beam.threshold:g}",
            f"symbols {beam.tokens or 'all'}",
        ]
        said += [f"LM weight {weights.lm_weight:g}", f"word score {weights.word_score:g}"]
        said += [f"unknown {weights.unk_score:g}", f"boundary {weights.sil_score:g}"]
        said += [f"hot word {word} {weight:g}" for word, weight in options.hotwords.items()]
    if (second := options.rescore) is not None:
        said += [
            f"{second.nbest} scored again by {second.lm.name}",
            f"weight {second.weights.lm_weight:g}",
        ]
        said += [f"word {second.weights.word_score:g}", f"first {second.first_pass_weight:g}"]
    return ", ".join([*said, f"precision {options.precision}"])


def _written(counts: ErrorCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in COUNTS}


def _read(written: dict[str, int]) -> ErrorCounts:
    reference, substitutions, deletions, insertions = (written[name] for name in COUNTS)
    return ErrorCounts(reference - substitutions - deletions, substitutions, deletions, insertions)
