"""A corpus through a pipeline, and its errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from w2v2cli.data.librispeech import Part
from w2v2cli.errors import UserError
from w2v2cli.recognition.error_rate import Alignment, ErrorCounts, align, total
from w2v2cli.recognition.pipeline import Pipeline


@dataclass(frozen=True)
class Scored:
    """One utterance, transcribed and aligned."""

    id: str
    speaker: str | None
    alignment: Alignment


@dataclass(frozen=True)
class Failure:
    """One utterance that could not be transcribed."""

    id: str
    error: str


@dataclass(frozen=True)
class Evaluation:
    """What came of a corpus."""

    name: str
    note: str | None
    utterances: tuple[Scored, ...]
    failures: tuple[Failure, ...]
    audio_seconds: float
    wall_seconds: float = 0.0

    @property
    def words(self) -> ErrorCounts:
        """Over all utterances."""
        return total(scored.alignment.words for scored in self.utterances)

    @property
    def characters(self) -> ErrorCounts:
        """Over all utterances."""
        return total(scored.alignment.characters for scored in self.utterances)

    def by_speaker(self) -> dict[str, ErrorCounts]:
        """Word errors of each speaker, most audible trouble first; empty when no speaker is known."""
        counts: dict[str, list[ErrorCounts]] = defaultdict(list)
        for scored in self.utterances:
            if scored.speaker is not None:
                counts[scored.speaker].append(scored.alignment.words)
        totals = {speaker: total(found) for speaker, found in counts.items()}
        return dict(sorted(totals.items(), key=lambda item: -item[1].rate))

    def worst(self, count: int) -> list[Scored]:
        """The utterances with the most word errors."""
        ranked = sorted(self.utterances, key=lambda s: (-s.alignment.words.errors, -s.alignment.words.rate, s.id))
        return [scored for scored in ranked[:count] if scored.alignment.words.errors]

    def timed(self, seconds: float) -> Evaluation:
        """With the time it took."""
        return replace(self, wall_seconds=seconds)


def evaluate_corpus(pipeline: Pipeline, part: Part, one_more: Callable[[], None]) -> Evaluation:
    """Transcribe and score every utterance; UserError for one without a transcript to compare with."""
    silent = [utterance.id for utterance in part.utterances if utterance.text is None]
    if silent:
        raise UserError(f"{part.name}: {len(silent)} utterances have no transcript to compare with, {silent[0]} first.")
    before = pipeline.timings.audio
    scored: list[Scored] = []
    failures: list[Failure] = []
    outcomes = pipeline.transcribe([utterance.path for utterance in part.utterances])
    for utterance, outcome in zip(part.utterances, outcomes, strict=True):
        if outcome.transcript is None:
            failures.append(Failure(utterance.id, outcome.error or ""))
        else:
            alignment = align(utterance.text or "", outcome.transcript.text)
            scored.append(Scored(utterance.id, utterance.speaker, alignment))
        one_more()
    audio = pipeline.timings.audio - before
    return Evaluation(part.name, part.note, tuple(scored), tuple(failures), audio)
