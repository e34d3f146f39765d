"""Hypotheses from anywhere against references: rates, and whether two of them differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm.text.normalizers import Normalizer
from w2v2cli.console import counted
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import (
    Alignment,
    ErrorCounts,
    align,
    align_phones,
    matched_pairs,
    paired_interval,
    total,
)
from w2v2cli.recognition.scoring.results import Evaluation, Failure, Scored
from w2v2cli.recognition.scoring.texts import Texts, paired, read_texts

SIGNIFICANT = 0.05
ABSENT = "it has no hypothesis"


@dataclass(frozen=True)
class Difference:
    """The errors of a system beside those of another, on the utterances that both have."""

    first: str
    second: str
    rate_name: str
    utterances: int
    points: float
    """The second rate minus the first."""
    interval: tuple[float, float]
    """95% of `points`, by a paired bootstrap over utterances."""
    p_value: float
    """Of no difference, see `matched_pairs`."""

    def sentence(self) -> str:
        """What it says, in one line."""
        low, high = (f"{bound * 100:+.2f}" for bound in self.interval)
        how_sure = f"(95%: {low} to {high}, p = {self.p_value:.4f}, {self.utterances} utterances)"
        if not self.points:
            return f"{self.second} has as many errors as {self.first} {how_sure}."
        told = (
            f"{self.second} has {abs(self.points) * 100:.2f} points of {self.rate_name} "
            f"{'more' if self.points > 0 else 'less'} than {self.first} {how_sure}"
        )
        chance = "" if self.p_value < SIGNIFICANT else ": this may be chance"
        return f"{told}{chance}."

    def to_json(self) -> dict[str, Any]:
        """Plain values; rates are ratios."""
        return {
            "first": self.first,
            "second": self.second,
            "rate": self.rate_name.lower(),
            "utterances": self.utterances,
            "difference": self.points,
            "interval_95": list(self.interval),
            "p_value": self.p_value,
        }


def score_texts(
    reference: Texts,
    hypothesis: Texts,
    normalizer: Normalizer,
    note: Callable[[str], None] = lambda sentence: None,
) -> Evaluation:
    """The errors of a file of hypotheses; a reference without one is a failure.

    note: called with a sentence that counts hypotheses without a reference, which are left out.

    Raises UserError where nothing pairs, or normalising leaves nothing of any reference.
    """
    heard = paired(reference, hypothesis)
    scored = [
        Scored(name, None, align(text, heard[name], normalizer))
        for name, text in reference.by_name.items()
        if name in heard
    ]
    if not any(one.alignment.reference for one in scored):
        raise UserError(
            f"The {normalizer.name} normaliser leaves nothing of any reference of "
            f"{reference.path}: --normalizer basic keeps every script."
        )
    extra = len(hypothesis.by_name) - len(scored)
    if extra:
        more = counted(extra, "utterance")
        note(f"{hypothesis.path} has {more} that {reference.path} lacks: left out.")
    absent = [name for name in reference.by_name if name not in heard]
    failures = tuple(Failure(name, f"{ABSENT} in {hypothesis.path}") for name in absent)
    return Evaluation(
        str(hypothesis.path), None, tuple(scored), failures, 0.0, normalizer=str(normalizer)
    )


@dataclass(frozen=True)
class Beside:
    """The transcripts of another system, to be compared with an evaluation."""

    path: Path
    by_corpus: dict[str, Texts]
    """By the name of the corpus."""

    @classmethod
    def read(cls, path: Path, corpora: Mapping[str, Iterable[str]]) -> Beside:
        """Read a file as `read_texts` does, by corpus where its lines name them.

        corpora: the utterances of each corpus that is evaluated.
        Raises UsageError where there is no file, UserError for one that has none of them.
        """
        found = {name: read_texts(path, "hypothesis", name) for name in corpora}
        if not any(texts.by_name for texts in found.values()):
            found = dict.fromkeys(corpora, read_texts(path, "hypothesis"))
        found = {name: texts for name, texts in found.items() if texts.by_name}
        for name, texts in found.items():  # lines that cannot be paired are told of at once
            paired(Texts(Path(name), dict.fromkeys(corpora[name], "")), texts)
        return cls(path, found)

    def evaluated(self, result: Evaluation) -> Evaluation | None:
        """The errors of these transcripts on the references of an evaluation, spelled as there.

        Returns None for a corpus of which there is no transcript.
        """
        if result.name not in self.by_corpus or not result.utterances:
            return None
        spoken = {one.id: one.alignment.reference for one in result.utterances}
        heard = paired(Texts(Path(result.name), spoken), self.by_corpus[result.name])
        scored = tuple(
            replace(one, alignment=_aligned(one.alignment.reference, heard[one.id], result))
            for one in result.utterances
            if one.id in heard
        )
        failures = tuple(
            Failure(name, f"{ABSENT} in {self.path}") for name in spoken if name not in heard
        )
        return replace(result, name=str(self.path), note=None, utterances=scored, failures=failures)


@dataclass(frozen=True)
class Compared:
    """An evaluation and another system's transcripts of the same corpus."""

    corpus: str
    ours: ErrorCounts
    """The errors of the evaluation on the utterances that both have."""
    theirs: Evaluation
    """The other's errors, named by its file."""
    difference: Difference


def compared(
    results: Sequence[Evaluation], beside: Beside | None, title: str, seed: int
) -> list[Compared]:
    """Each evaluation beside the other system, where that has transcripts of its corpus.

    beside: None compares with nothing. title: what the evaluated system is called.
    seed: of the interval and the test.
    """
    found: list[Compared] = []
    if beside is None:
        return found
    for result in results:
        theirs = beside.evaluated(result)
        if theirs is None:
            continue
        both = {scored.id for scored in theirs.utterances}
        ours = total(result.counts_of(s.alignment) for s in result.utterances if s.id in both)
        difference = _difference(replace(result, name=title), theirs, seed)
        found.append(Compared(result.name, ours, theirs, difference))
    return found


def _aligned(reference: str, hypothesis: str, result: Evaluation) -> Alignment:
    if result.unit == "phones":  # folded already, as `eval --output` writes them
        return align_phones(reference.split(), hypothesis.split(), timit=False)
    return align(reference, hypothesis, Normalizer.from_text(result.normalizer))


def differences(results: Sequence[Evaluation], seed: int) -> list[Difference]:
    """Each further result beside the first."""
    return [_difference(results[0], other, seed) for other in results[1:]]


def _difference(first: Evaluation, second: Evaluation, seed: int) -> Difference:
    counts = [
        {one.id: first.counts_of(one.alignment) for one in result.utterances}
        for result in (first, second)
    ]
    both = [name for name in counts[0] if name in counts[1]]
    errors = [[found[name].errors for name in both] for found in counts]
    lengths = [counts[0][name].reference for name in both]
    more = [b - a for a, b in zip(*errors, strict=True)]
    return Difference(
        first.name,
        second.name,
        first.rate_name,
        len(both),
        sum(more) / max(sum(lengths), 1),
        paired_interval(errors[1], errors[0], lengths, seed),
        matched_pairs(errors[0], errors[1], seed),
    )
