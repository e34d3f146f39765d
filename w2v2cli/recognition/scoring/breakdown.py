"""Where the errors of an evaluation lie: in whom, in what length, in which words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from w2v2cli.recognition.scoring.error_rate import (
    ErrorCounts,
    Step,
    bootstrap_interval,
    total,
)
from w2v2cli.recognition.scoring.results import Evaluation, Scored

LENGTHS = (2, 5, 10, 20)  # seconds at which a group of utterances ends
FREQUENCIES = (1, 3, 9, 29)  # times that the words of a group are said at most
FEWEST = 2  # utterances of which an interval can be told


@dataclass(frozen=True)
class Group:
    """Utterances or words that have something in common, and their errors."""

    name: str
    utterances: int
    counts: ErrorCounts
    interval: tuple[float, float] | None
    """95% of the rate, by a bootstrap over utterances; None of a single utterance."""


@dataclass(frozen=True)
class Confusions:
    """How often each word was taken for another, missed, or heard where it was not said."""

    substitutions: list[tuple[tuple[str, str], int]]
    """(said, heard), the commonest first."""
    deletions: list[tuple[str, int]]
    insertions: list[tuple[str, int]]


def whole(result: Evaluation, seed: int) -> Group:
    """All utterances of a corpus. seed: of the bootstrap."""
    return _group(result.name, [result.counts_of(s.alignment) for s in result.utterances], seed)


def by_speaker(result: Evaluation, seed: int) -> list[Group]:
    """A group for each speaker, highest rate first; none where no speaker is known."""
    found: dict[str, list[ErrorCounts]] = defaultdict(list)
    for scored in result.utterances:
        if scored.speaker is not None:
            found[scored.speaker].append(result.counts_of(scored.alignment))
    return [_group(name, found[name], seed) for name in result.by_speaker()]


def by_length(result: Evaluation, seed: int) -> list[Group]:
    """Groups of utterances by the seconds of their audio, shortest first; none if unknown."""
    known = [(s.seconds, s) for s in result.utterances if s.seconds is not None]
    groups = []
    for low, high in zip((0, *LENGTHS), (*LENGTHS, None), strict=True):
        inside = [s for seconds, s in known if low <= seconds and (high is None or seconds < high)]
        counts = [result.counts_of(scored.alignment) for scored in inside]
        if counts:
            name = f"{low} s and more" if high is None else f"{low} to {high} s"
            groups.append(_group(name, counts, seed))
    return groups


def by_frequency(result: Evaluation, seed: int) -> list[Group]:
    """Groups of reference words by how often the references of the corpus have them.

    A word is right, substituted or deleted; insertions belong to no reference word.
    """
    steps = steps_of(result.utterances)
    said = Counter(step.reference for found in steps for step in found if step.reference)
    groups = []
    for low, high in zip((0, *FREQUENCIES), (*FREQUENCIES, None), strict=True):
        inside = {word for word, n in said.items() if low < n and (high is None or n <= high)}
        counts = [_of_words(found, inside) for found in steps]
        counts = [one for one in counts if one.reference]
        if counts:
            groups.append(_group(_times(low + 1, high), counts, seed))
    return groups


def steps_of(utterances: Iterable[Scored]) -> list[list[Step]]:
    """The alignment of each utterance."""
    return [scored.alignment.steps() for scored in utterances]


def confusions(result: Evaluation, count: int) -> Confusions:
    """The `count` commonest errors of each kind; of equally common ones the first by alphabet."""
    steps = [step for found in steps_of(result.utterances) for step in found]
    swapped = Counter((s.reference, s.hypothesis) for s in steps if s.operation == "substitute")
    missed = Counter(s.reference for s in steps if s.operation == "delete")
    added = Counter(s.hypothesis for s in steps if s.operation == "insert")
    return Confusions(
        sorted(swapped.items(), key=lambda item: (-item[1], item[0]))[:count],
        sorted(missed.items(), key=lambda item: (-item[1], item[0]))[:count],
        sorted(added.items(), key=lambda item: (-item[1], item[0]))[:count],
    )


def _group(name: str, counts: Sequence[ErrorCounts], seed: int) -> Group:
    interval = bootstrap_interval(counts, seed) if len(counts) >= FEWEST else None
    return Group(name, len(counts), total(counts), interval)


def _of_words(steps: Iterable[Step], words: set[str]) -> ErrorCounts:
    found = Counter(step.operation for step in steps if step.reference in words)
    return ErrorCounts(found["equal"], found["substitute"], found["delete"])


def _times(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} times and more"
    return "once" if high == 1 else f"{low} to {high} times"
