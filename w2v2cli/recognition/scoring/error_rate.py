"""Word, character and phone error rates: jiwer aligns once, everything else reads the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import jiwer
import numpy as np

from lm.text.normalization import normalize_text
from lm.text.phones import fold
from lm.text.scripts import characters_of, is_unspaced

RESAMPLES = 1000  # draws of the bootstrap
EXCHANGES = 10_000  # draws of the matched-pairs test
INTERVAL = (2.5, 97.5)  # percentiles of a 95% interval


@dataclass(frozen=True)
class ErrorCounts:
    """Differences of a hypothesis from its reference, in words, characters or phones."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors divided by the length of the reference.

        An empty reference counts as one unit: an empty hypothesis has rate 0, three words rate 3.
        """
        return self.errors / max(self.reference, 1)

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True)
class Step:
    """One place of an alignment."""

    operation: str
    """equal, substitute, delete or insert."""
    reference: str
    """A word; empty where one is inserted."""
    hypothesis: str
    """A word; empty where one is deleted."""


@dataclass(frozen=True)
class Alignment:
    """One utterance's reference and hypothesis, normalised, and their differences."""

    reference: str
    hypothesis: str
    words: ErrorCounts
    """Errors in words, or in phones where phones were aligned."""
    characters: ErrorCounts
    """Errors in characters; all zero where phones were aligned."""

    @property
    def between(self) -> str:
        """What stands between two words: nothing in scripts without spaces."""
        return "" if is_unspaced(self.reference) else " "

    def steps(self) -> list[Step]:
        """The words that are equal, substituted, deleted and inserted, in order.

        In scripts without spaces the words are characters.
        """
        texts = (self.reference, self.hypothesis)
        if not self.reference:
            return [Step("insert", "", word) for word in self.hypothesis.split()]
        if not self.between:
            texts = (" ".join(_unspaced(texts[0])), " ".join(_unspaced(texts[1])))
        output = jiwer.process_words(*texts)
        reference, hypothesis = output.references[0], output.hypotheses[0]
        found: list[Step] = []
        for chunk in output.alignments[0]:
            spoken = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
            pairs = zip_longest(spoken, heard, fillvalue="")
            found += [Step(chunk.type, *pair) for pair in pairs]
        return found


def align(
    reference: str, hypothesis: str, normalize: Callable[[str], str] = normalize_text
) -> Alignment:
    """Normalise both texts and count their differences.

    normalize: a normaliser of `lm.text.normalizers`; English by default. Spaces are characters too,
    but not where the reference is in a script without spaces.
    """
    reference, hypothesis = normalize(reference), normalize(hypothesis)
    if not reference:
        words = ErrorCounts(insertions=len(hypothesis.split()))
        inserted = ErrorCounts(insertions=len(characters_of(hypothesis)))
        return Alignment(reference, hypothesis, words, inserted)
    by_word = jiwer.process_words(reference, hypothesis)
    spelled = (reference, hypothesis)
    if is_unspaced(reference):
        spelled = _unspaced(reference), _unspaced(hypothesis)
    by_character = jiwer.process_characters(*spelled)
    return Alignment(reference, hypothesis, _counts(by_word), _counts(by_character))


def _unspaced(text: str) -> str:
    return "".join(text.split())


def align_phones(
    reference: Sequence[str], hypothesis: Sequence[str], timit: bool = True
) -> Alignment:
    """Count the differences of two sequences of phones.

    timit: fold both to the 39 phones that papers score on (`lm.text.phones`); otherwise phones are
    compared as they are.

    Raises PhoneError (a ValueError) for a symbol that is not a phone of TIMIT.
    """
    if timit:
        reference, hypothesis = fold(reference, 39), fold(hypothesis, 39)
    spoken, found = " ".join(reference), " ".join(hypothesis)
    if not spoken:
        return Alignment(spoken, found, ErrorCounts(insertions=len(hypothesis)), ErrorCounts())
    return Alignment(spoken, found, _counts(jiwer.process_words(spoken, found)), ErrorCounts())


def _counts(output: jiwer.WordOutput | jiwer.CharacterOutput) -> ErrorCounts:
    return ErrorCounts(output.hits, output.substitutions, output.deletions, output.insertions)


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The sum over utterances, whose rate weighs each utterance by its length."""
    return sum(counts, ErrorCounts())


def bootstrap_interval(counts: Sequence[ErrorCounts], seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the total rate: utterances are drawn anew with replacement.

    Bisani and Ney (2004), "Bootstrap estimates for confidence intervals in ASR performance
    evaluation".
    """
    return _interval([c.errors for c in counts], [c.reference for c in counts], seed)


def paired_interval(
    first: Sequence[int], second: Sequence[int], lengths: Sequence[int], seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of the first total rate minus the second, of the same utterances.

    first, second: errors of each utterance; lengths: of its reference. Each draw takes the same
    utterances for both (Bisani and Ney 2004, section 3).
    """
    return _interval([a - b for a, b in zip(first, second, strict=True)], lengths, seed)


def matched_pairs(first: Sequence[int], second: Sequence[int], seed: int = 0) -> float:
    """The p-value of the same total of errors, two-sided, by approximate randomisation.

    first, second: errors of each utterance. How often the totals differ as much as they do, when
    each utterance's two transcripts are exchanged at random (Noreen 1989, "Computer-intensive
    methods for testing hypotheses"); no less than 1 / 10 001, the draws that are made.
    """
    differences = np.array(first, np.int64) - np.array(second, np.int64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    generator, seen = np.random.default_rng(seed), abs(int(differences.sum()))
    as_far = sum(
        abs(int(generator.choice((-1, 1), len(differences)) @ differences)) >= seen
        for _ in range(EXCHANGES)
    )
    return (as_far + 1) / (EXCHANGES + 1)


def _interval(errors: Sequence[int], lengths: Sequence[int], seed: int) -> tuple[float, float]:
    """The 95% interval of errors by length, over utterances drawn anew with replacement."""
    if not errors:
        return 0.0, 0.0
    by_utterance = np.array(errors, np.float64), np.array(lengths, np.float64)  # (utterances,)
    draws = np.random.default_rng(seed).integers(0, len(errors), (RESAMPLES, len(errors)))
    # (draws, utterances) -> (draws,)
    drawn, spoken = (values[draws].sum(1) for values in by_utterance)
    low, high = np.percentile(drawn / np.maximum(spoken, 1), INTERVAL)
    return float(low), float(high)
