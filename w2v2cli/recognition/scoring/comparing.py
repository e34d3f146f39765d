"""Hypotheses from anywhere against references: rates, and whether two of them differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm.text.normalizers import Normalizer
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import align, matched_pairs, paired_interval
from w2v2cli.recognition.scoring.results import Evaluation, Failure, Scored
from w2v2cli.recognition.scoring.texts import Texts, paired

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
        told = (
            f"{self.second} has {abs(self.points) * 100:.2f} points of {self.rate_name} "
            f"{'more' if self.points > 0 else 'less'} than {self.first} (95%: {low} to {high}, "
            f"p = {self.p_value:.4f}, {self.utterances} utterances)"
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
        note(f"{hypothesis.path} has {extra} utterances that {reference.path} lacks: left out.")
    absent = [name for name in reference.by_name if name not in heard]
    failures = tuple(Failure(name, f"{ABSENT} in {hypothesis.path}") for name in absent)
    return Evaluation(
        str(hypothesis.path), None, tuple(scored), failures, 0.0, normalizer=str(normalizer)
    )


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
