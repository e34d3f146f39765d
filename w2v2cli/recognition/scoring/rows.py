"""Evaluated utterances as lines of JSON.

Ranks pass them to the first rank; `w2v2 eval --output` keeps them and --skip-existing reads them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.json_text import parsed
from w2v2cli.errors import UserError
from w2v2cli.recognition.devices import precision_taken
from w2v2cli.recognition.scoring.error_rate import Alignment, ErrorCounts
from w2v2cli.recognition.scoring.results import (
    Evaluation,
    Failure,
    Scored,
    Unit,
    normalizer_of,
    scoring,
)
from w2v2cli.recognition.sharing.rank_files import leftover_lines

if TYPE_CHECKING:
    from lm.text.normalizers import NormalizerName
    from w2v2cli.data.corpora.catalogue import CorpusSplit
    from w2v2cli.processes import Ranks
    from w2v2cli.recognition.pipeline import OnHeard, Pipeline
    from w2v2cli.recognition.resolving import RecognitionOptions

COUNTS = ("reference", "substitutions", "deletions", "insertions")


@dataclass(frozen=True)
class ScoredRow:
    """One utterance that was transcribed and aligned, or the reason why it could not be."""

    data: str
    """Name of the corpus."""
    id: str
    alignment: Alignment | None
    """None where the utterance could not be transcribed."""
    settings: str
    """The settings it was transcribed with, as `settings_line` writes them."""
    audio_seconds: float
    """Length of the audio."""
    wall_seconds: float
    """Time it took, divided by the number of ranks: the sum over all rows is the wall time."""
    unit: Unit = "words"
    """Unit of `alignment.words`."""
    error: str | None = None
    """Why it could not be transcribed."""
    normalizer: str = ""
    """How both texts were spelled; empty for phones."""

    def to_json(self) -> dict[str, Any]:
        """The JSON object of one line; `reference` to `characters` or `error`, never both."""
        line: dict[str, Any] = {"data": self.data, "id": self.id}
        if self.alignment is None:
            line |= {"error": self.error or ""}
        else:
            line |= {
                "reference": self.alignment.reference,
                "hypothesis": self.alignment.hypothesis,
                "unit": self.unit,
                self.unit: _written(self.alignment.words),
                "characters": _written(self.alignment.characters),
            }
        return line | {
            "audio_seconds": self.audio_seconds,
            "wall_seconds": self.wall_seconds,
            "settings": self.settings,
            **({"normalizer": self.normalizer} if self.normalizer else {}),
        }

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> ScoredRow:
        """The row of a line. Raises ValueError for an object that is not one."""
        try:
            alignment, unit = None, "words"
            if "error" not in json:
                unit = json["unit"]
                words, characters = _read(json[unit]), _read(json["characters"])
                alignment = Alignment(json["reference"], json["hypothesis"], words, characters)
            return cls(
                json["data"],
                json["id"],
                alignment,
                json["settings"],
                json["audio_seconds"],
                json["wall_seconds"],
                "phones" if unit == "phones" else "words",
                json.get("error"),
                str(json.get("normalizer", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a scored utterance: {error}") from None


def scored_rows(
    pipeline: Pipeline,
    part: CorpusSplit,
    wanted: Sequence[int],
    settings: str,
    ranks: Ranks,
    normalizer: NormalizerName | None = None,
    on_heard: OnHeard = lambda place, seconds: None,
) -> Iterator[ScoredRow]:
    """Transcribe and align utterances of a corpus, one row each in the order of `wanted`.

    wanted: indices into `part.utterances`.
    settings: the line that `--skip-existing` compares, see `settings_line`.
    normalizer: see `scoring`. on_heard: called with a place in `wanted`; see `Pipeline.transcribe`.

    Raises UserError where the corpus has nothing to compare with.
    """
    score = scoring(part, pipeline.pool.spec, normalizer)
    unit: Unit = "phones" if pipeline.pool.spec.writes_phones else "words"
    spelled = normalizer_of(pipeline.pool.spec, normalizer)
    began = time.perf_counter()
    sources = [part.utterances[number].recorded for number in wanted]
    outcomes = pipeline.transcribe(sources, on_heard)
    for number, outcome in zip(wanted, outcomes, strict=True):
        # The reference of a recording that is cut short is of more than was heard.
        transcript = None if outcome.cut_short else outcome.transcript
        utterance, error = part.utterances[number], outcome.error or outcome.cut_short
        alignment = None if transcript is None else score(utterance, transcript.text)
        now = time.perf_counter()
        yield ScoredRow(
            part.name,
            utterance.id,
            alignment,
            settings,
            outcome.seconds,
            (now - began) / ranks.world,
            unit,
            error if alignment is None else None,
            "" if spelled is None else str(spelled),
        )
        began = now


def evaluation_of(part: CorpusSplit, rows: Iterable[tuple[int, ScoredRow]]) -> Evaluation:
    """The errors of a corpus.

    rows: (index into `part.utterances`, row), ascending by index.
    """
    scored: list[Scored] = []
    failures: list[Failure] = []
    audio = wall = 0.0
    unit: Unit = "words"
    spelled = ""
    for number, row in rows:
        utterance = part.utterances[number]
        audio, wall = audio + row.audio_seconds, wall + row.wall_seconds
        if row.alignment is None:
            failures.append(Failure(utterance.id, row.error or ""))
            continue
        unit, spelled = row.unit, row.normalizer
        scored.append(Scored(utterance.id, utterance.speaker, row.alignment, row.audio_seconds))
    found = tuple(scored), tuple(failures)
    return Evaluation(part.name, part.note, *found, audio, wall, unit, spelled)


def kept_rows(path: Path, folder: Path, settings: str) -> dict[tuple[str, str], ScoredRow]:
    """What earlier calls with these settings transcribed, by (corpus, utterance id).

    path: the file of --output, which need not exist.
    folder: the folder of the ranks' files; it holds rows that were never merged if the first rank
        was killed.

    Raises UserError for a file of another kind, or of other settings.
    """
    leftover = [
        line
        for line in leftover_lines(folder)
        if line.get("settings") == settings and "error" not in line
    ]
    rows = [ScoredRow.from_json(line) for line in leftover]
    if path.exists():
        rows += _rows_of(path, settings)
    return {(row.data, row.id): row for row in rows}


def _rows_of(path: Path, settings: str) -> list[ScoredRow]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:  # not UTF-8
        raise _not_ours(path) from None
    try:
        rows = [ScoredRow.from_json(parsed(line)) for line in lines]
    except ValueError:
        raise _not_ours(path) from None
    if any(row.alignment is None for row in rows):
        raise _not_ours(path)
    others = [row.settings for row in rows if row.settings != settings]
    if others:
        raise UserError(
            f"{path} holds hypotheses of other settings ({others[0]} instead of {settings}): "
            "name another --output, or leave out --skip-existing."
        )
    return rows


def _not_ours(path: Path) -> UserError:
    return UserError(
        f"{path} was not written by w2v2 eval: name another --output, or leave out --skip-existing."
    )


def settings_line(options: RecognitionOptions, normalizer: NormalizerName | None = None) -> str:
    """All settings that a hypothesis and its errors depend on, in one line.

    The precision is the one taken, which `auto` leaves to the device. Raises UsageError for a
    device that is not there.
    """
    beam, weights = options.beam, options.weights
    parts = [options.model.title, options.engine]
    if options.engine != "greedy":
        parts += [
            f"LM {options.lm.name}",
            f"lexicon {options.lm.lexicon.name if options.lm.lexicon else 'none'}",
        ]
        parts += [
            f"beam {beam.width}",
            f"threshold {beam.threshold:g}",
            f"symbols {beam.tokens or 'all'}",
            f"merged by {beam.recombine}",
        ]
        parts += [] if beam.lm_context is None else [f"and by their last {beam.lm_context} words"]
        parts += [] if beam.skip_blank is None else [f"blank from {beam.skip_blank:g}"]
        parts += [f"fewest errors at {beam.mbr_scale:g}"] if beam.mbr else []
        parts += [f"LM weight {weights.lm_weight:g}", f"word score {weights.word_score:g}"]
        if options.second_lm is not None:
            parts += [f"with LM {options.second_lm.name}, weight {weights.second_lm_weight:g}"]
        parts += [f"unknown {weights.unk_score:g}", f"boundary {weights.sil_score:g}"]
        parts += [f"hot word {word} {weight:g}" for word, weight in options.hotwords.items()]
        parts += [f"hot words from {options.hotwords_floor:g}"] if options.hotwords else []
    if (second := options.rescore) is not None:
        parts += [
            f"{second.what} scored again by {second.lm.name}",
            f"weight {second.weights.lm_weight:g}",
        ]
        parts += [f"lattice within {beam.lattice_beam:g}"] if second.over == "lattice" else []
        parts += [f"word {second.weights.word_score:g}", f"first {second.first_pass_weight:g}"]
    spelled = [] if normalizer is None else [f"normaliser {normalizer}"]
    if options.lm_precision != "auto":
        parts.append(f"precision of the language model {options.lm_precision}")
    taken = precision_taken(options.precision, options.device)
    return ", ".join([*parts, f"precision {taken}", *spelled])


def _written(counts: ErrorCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in COUNTS}


def _read(written: dict[str, int]) -> ErrorCounts:
    reference, substitutions, deletions, insertions = (written[name] for name in COUNTS)
    return ErrorCounts(reference - substitutions - deletions, substitutions, deletions, insertions)
