"""Precisions side by side: error rates with intervals, words that differ, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from w2v2cli.recognition.scoring.comparing import Difference, differences
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.results import Evaluation

ALL = "all of them"


def pooled(parts: Sequence[Evaluation]) -> Evaluation:
    """Several corpora as one."""
    every = tuple(
        replace(one, id=f"{number} {one.id}")
        for number, part in enumerate(parts)
        for one in part.utterances
    )
    audio = sum(part.audio_seconds for part in parts)
    return replace(parts[0], utterances=every, audio_seconds=audio)


@dataclass(frozen=True)
class Row:
    """A corpus with one language model in a precision, beside the first precision."""

    corpus: str
    lm: str
    precision: str
    spoken: int
    """Words of the references."""
    first_rate: float
    rate: float
    difference: Difference
    others: int
    """Words that differ from those of the first precision."""

    @classmethod
    def of(cls, corpus: str, lm: str, first: Evaluation, other: Evaluation) -> Row:
        """Compare the errors of two precisions."""
        [difference] = differences([first, other], seed=0)
        pairs = zip(first.utterances, other.utterances, strict=True)
        apart = [align(a.alignment.hypothesis, b.alignment.hypothesis).words for a, b in pairs]
        spoken = first.words.reference
        rates = first.words.rate, other.words.rate
        return cls(corpus, lm, other.name, spoken, *rates, difference, sum(a.errors for a in apart))

    def cells(self) -> tuple[str, ...]:
        """As a table shows it."""
        low, high = (f"{100 * bound:+.2f}" for bound in self.difference.interval)
        return (
            self.corpus,
            self.lm,
            str(self.spoken),
            f"{100 * self.first_rate:.2f}",
            f"{100 * self.rate:.2f}",
            f"{100 * self.difference.points:+.2f} ({low} to {high})",
            f"{self.difference.p_value:.2f}",
            str(self.others),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; rates are ratios."""
        return {
            "corpus": self.corpus,
            "lm": self.lm,
            "precision": self.precision,
            "words": self.spoken,
            "wer": [self.first_rate, self.rate],
            "words that differ": self.others,
            **self.difference.to_json(),
        }


def rows_of(found: dict[str, dict[tuple[str, str], Evaluation]], first: str) -> list[Row]:
    """Each corpus and all of them together, in each further precision beside the first."""
    every = dict(found)
    if len(found) > 1:
        keys = list(next(iter(found.values())))
        every[ALL] = {key: pooled([results[key] for results in found.values()]) for key in keys}
    return [
        Row.of(corpus, lm, results[first, lm], result)
        for corpus, results in every.items()
        for (precision, lm), result in results.items()
        if precision != first
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def speed_table(what: str, seconds: dict[str, float], audio: float) -> str:
    """CPU seconds of each precision, and how much faster than the first it is."""
    first = next(iter(seconds.values()))
    rows = [
        (name, f"{spent:.2f}", f"{audio / spent:.1f}", f"{first / spent:.2f}")
        for name, spent in seconds.items()
    ]
    return table((what, "CPU s", "× real time", "ratio"), rows)


def tables(rows: Sequence[Row], first: str) -> str:
    """The words of each further precision beside the first."""
    texts = []
    for precision in dict.fromkeys(row.precision for row in rows):
        header = ("corpus", "LM", "words", f"WER % {first}", precision, "points (95%)", "p")
        own = [row.cells() for row in rows if row.precision == precision]
        texts.append(table((*header, "other words"), own))
    return "\n".join(texts)
