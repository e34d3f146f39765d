"""Transcribing corpora and counting the errors, alone or divided among ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lm.text.normalizers import NormalizerName
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.decoding.hearing import AudioProgress, Hearing
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.results import Evaluation, lacking, unwritable
from w2v2cli.recognition.scoring.rows import (
    ScoredRow,
    evaluation_of,
    kept_rows,
    scored_rows,
    settings_line,
)
from w2v2cli.recognition.searching.spec import Searches
from w2v2cli.recognition.sharing.merging import SharedRun, WorkPlan, sharing
from w2v2cli.recognition.sharing.ranks import (
    options_of,
    seconds_of,
    split_by_length,
    stopping,
    take_cores,
    temporary_folder,
)
from w2v2cli.recognition.writing.output import write_file

NAMED = 5  # utterances that a message lists before it only counts


@dataclass(frozen=True)
class Evaluated:
    """What a call found."""

    evaluations: list[Evaluation]
    """The errors of each corpus, in the order given."""
    shortfall: str | None = None
    """The sentence on what is missing because a rank ended early."""


@dataclass(frozen=True)
class Place:
    """An utterance of a corpus."""

    corpus: CorpusSplit
    number: int

    @property
    def id(self) -> str:
        """The utterance's name in its corpus."""
        return self.utterance.id

    @property
    def utterance(self) -> Utterance:
        """What is transcribed."""
        return self.corpus.utterances[self.number]


def evaluate_corpora(
    options: RecognitionOptions,
    corpora: Sequence[CorpusSplit],
    *,
    output: Path | None = None,
    skip_existing: bool = False,
    normalizer: NormalizerName | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    note: Callable[[str], None] = lambda sentence: None,
    on_progress: Callable[[AudioProgress], None] = lambda heard: None,
) -> Evaluated | None:
    """Transcribe corpora and hold the transcripts against their references.

    output: file that gets a line of JSON for each utterance.
    skip_existing: leave out utterances that `output` has, of the same settings.
    normalizer: how references and transcripts are spelled; None takes the model's own way.
    warn: called with a sentence about the lexicon, the language model or the references.
    note: called with a sentence about reference words that are not searched for.
    on_progress: called with how far the job has come, also inside a recording.

    Under torchrun the ranks divide the utterances; the first one returns the result, the others
    return None. An utterance that cannot be transcribed is listed in its evaluation's `failures`.
    Raises UsageError and UserError.
    """
    ranks = Ranks.from_environment()
    line = settings_line(options, normalizer)
    options = options_of(options, ranks)
    places = [Place(corpus, n) for corpus in corpora for n in range(len(corpus.utterances))]
    folder = temporary_folder(ranks) if ranks.several else None
    if output is not None:
        folder = output.with_name(f".{output.name}.parts")
    rows: dict[int, ScoredRow] = {}

    def plan() -> WorkPlan:
        if skip_existing and output is not None and folder is not None:
            kept = kept_rows(output, folder, line)
            names = [(place.corpus.name, place.id) for place in places]
            rows.update({index: kept[name] for index, name in enumerate(names) if name in kept})
        return _plan(places, rows, ranks)

    with (
        stopping(ranks) as stop,
        sharing(ranks, folder, plan, stop, ScoredRow, keep=output is not None) as parts,
    ):
        left = {index: places[index].utterance for index in range(len(places)) if index not in rows}
        recorded = {index: utterance.recorded for index, utterance in left.items()}
        known = {index: utterance.seconds for index, utterance in left.items()}
        hearing = Hearing(recorded, on_progress, known)
        found = _scored(parts, places, options, line, normalizer, warn, note, hearing)
        with closing(found) as own:
            if not ranks.first:
                parts.contribute(own)
                return None
            rows.update(hearing.over(parts.merged(own)))
        if output is not None:
            _keep([rows[index] for index in sorted(rows) if rows[index].alignment], output)
    missing = [places[index].id for index in parts.missing]
    shortfall = _shortfall(missing, len(places), parts.shortfall(), output) if missing else None
    return Evaluated(_evaluations(corpora, rows), shortfall)


def _evaluations(corpora: Sequence[CorpusSplit], rows: Mapping[int, ScoredRow]) -> list[Evaluation]:
    """The errors of each corpus, from the rows of all utterances by their place."""
    found, first = [], 0
    for corpus in corpora:
        numbers = range(len(corpus.utterances))
        own = [(number, rows[first + number]) for number in numbers if first + number in rows]
        found.append(evaluation_of(corpus, own))
        first += len(numbers)
    return found


def _shortfall(missing: Sequence[str], total: int, why: str, output: Path | None) -> str:
    again = "--output keeps what is done"
    if output is not None:
        again = f"{output} holds the others, and --skip-existing does only these"
    return (
        f"{len(missing)} of {total} utterances were not transcribed because {why}; {again}: "
        f"{', '.join(missing[:NAMED])}{' and more' if len(missing) > NAMED else ''}."
    )


def _plan(places: Sequence[Place], done: Mapping[int, ScoredRow], ranks: Ranks) -> WorkPlan:
    """The utterances of each rank, without those that are done, divided by length."""
    utterances = [place.corpus.utterances[place.number] for place in places]
    left = [index for index in range(len(places)) if index not in done]
    shares = [left]
    if ranks.several:
        seconds = [
            seconds_of([utterances[index].path])[0]
            if utterances[index].seconds is None
            else utterances[index].seconds or 0.0
            for index in left
        ]
        shares = [[left[at] for at in share] for share in split_by_length(seconds, ranks.world)]
    return WorkPlan([utterance.id for utterance in utterances], shares)


def _scored(
    parts: SharedRun[ScoredRow],
    places: Sequence[Place],
    options: RecognitionOptions,
    line: str,
    normalizer: NormalizerName | None,
    warn: Callable[[str], None],
    note: Callable[[str], None],
    hearing: Hearing,
) -> Generator[tuple[int, ScoredRow], None, None]:
    """This rank's utterances, transcribed and scored, corpus by corpus."""
    if [place.id for place in places] != list(parts.plan.items):
        raise UserError(
            f"Rank {parts.ranks.rank} finds other utterances than the first rank: "
            "are the disks the same?"
        )
    if not parts.mine:
        return
    with open_pipeline(options, warn if parts.ranks.first else lambda sentence: None) as pipeline:
        take_cores(parts.ranks)
        if parts.ranks.first:
            corpora = {id(place.corpus): place.corpus for place in places}
            _tell_of_references(list(corpora.values()), pipeline.pool, normalizer, warn, note)
        hearing.begin()
        for _, group in groupby(parts.mine, key=lambda index: id(places[index].corpus)):
            indices = list(group)
            numbers = [places[index].number for index in indices]
            corpus = places[indices[0]].corpus
            found = scored_rows(
                pipeline,
                corpus,
                numbers,
                line,
                parts.ranks,
                normalizer,
                hearing.among(indices),
            )
            yield from zip(indices, found, strict=True)


def _tell_of_references(
    corpora: Sequence[CorpusSplit],
    pool: Searches,
    normalizer: NormalizerName | None,
    warn: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    """Tell of reference words that the model cannot write, and of those that are not searched."""
    words = pool.words()
    for corpus in corpora:
        if (sentence := unwritable(corpus, pool.spec.vocabulary, normalizer)) is not None:
            warn(sentence)
        if words is not None:
            sentence = lacking(corpus, pool.spec, words, normalizer)
            if sentence is not None:
                note(sentence)


def _keep(rows: Sequence[ScoredRow], output: Path) -> None:
    lines = (json.dumps(row.to_json(), ensure_ascii=False) for row in rows)
    write_file(output, "".join(f"{line}\n" for line in lines))
