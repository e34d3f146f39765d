"""The errors of a model on a corpus, utterance by utterance and in total."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lm.text.normalizers import Normalizer, NormalizerName
from lm.text.phones import PhoneError, fold
from lm.text.scripts import is_unspaced
from lm.text.vocabulary import Vocabulary
from w2v2cli.console import counted
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import (
    Alignment,
    ErrorCounts,
    align,
    align_phones,
    total,
)
from w2v2cli.recognition.searching.spec import SearchSpec

Unit = Literal["words", "phones"]
EXAMPLES = 3  # words that a note lists
SHOWN = 10  # characters that a warning lists


@dataclass(frozen=True)
class Scored:
    """One utterance that was transcribed and aligned."""

    id: str
    speaker: str | None
    alignment: Alignment
    seconds: float | None = None
    """Length of its audio; None of texts that are scored without it."""


@dataclass(frozen=True)
class Failure:
    """One utterance that could not be transcribed."""

    id: str
    error: str


@dataclass(frozen=True)
class Evaluation:
    """The errors of a model on a corpus."""

    name: str
    """Name of the corpus."""
    note: str | None
    """A sentence that belongs to every report on this corpus."""
    utterances: tuple[Scored, ...]
    """Utterances that were transcribed, in the order of the corpus."""
    failures: tuple[Failure, ...]
    """Utterances that could not be transcribed; no rate counts them."""
    audio_seconds: float
    wall_seconds: float = 0.0
    unit: Unit = "words"
    """Unit of the counts in `words`."""
    normalizer: str = ""
    """How references and transcripts were spelled; empty for phones."""

    @cached_property
    def counted(self) -> Literal["words", "characters", "phones"]:
        """What the first error rate counts: characters in scripts without spaces."""
        if self.unit == "words" and is_unspaced(
            "".join(scored.alignment.reference for scored in self.utterances)
        ):
            return "characters"
        return self.unit

    @property
    def rate_name(self) -> str:
        """WER; CER in scripts without spaces, PER where the model writes phones."""
        return {"words": "WER", "characters": "CER", "phones": "PER"}[self.counted]

    def counts_of(self, alignment: Alignment) -> ErrorCounts:
        """The errors of an utterance, in what is counted first."""
        return alignment.characters if self.counted == "characters" else alignment.words

    @property
    def first(self) -> ErrorCounts:
        """The errors over all utterances, in what is counted first."""
        return total(self.counts_of(scored.alignment) for scored in self.utterances)

    @property
    def words(self) -> ErrorCounts:
        """Word errors over all utterances; phone errors where the model writes phones."""
        return total(scored.alignment.words for scored in self.utterances)

    @property
    def characters(self) -> ErrorCounts:
        """Character errors over all utterances."""
        return total(scored.alignment.characters for scored in self.utterances)

    def by_speaker(self) -> dict[str, ErrorCounts]:
        """The first errors of each speaker, highest rate first; empty if no speaker is known."""
        counts: dict[str, list[ErrorCounts]] = defaultdict(list)
        for scored in self.utterances:
            if scored.speaker is not None:
                counts[scored.speaker].append(self.counts_of(scored.alignment))
        totals = {speaker: total(found) for speaker, found in counts.items()}
        return dict(sorted(totals.items(), key=lambda item: -item[1].rate))

    def worst(self, count: int) -> list[Scored]:
        """The utterances with the most errors of the first kind; those without any are no part."""
        ranked = self.ranked()
        return [s for s in ranked[:count] if self.counts_of(s.alignment).errors]

    def ranked(self) -> list[Scored]:
        """All utterances, those with the most errors of the first kind first."""

        def rank(scored: Scored) -> tuple[int, float, str]:
            counts = self.counts_of(scored.alignment)
            return -counts.errors, -counts.rate, scored.id

        return sorted(self.utterances, key=rank)


def normalizer_of(spec: SearchSpec, normalizer: NormalizerName | None) -> Normalizer | None:
    """How references and transcripts are spelled; None takes the model's own; None for phones."""
    if spec.writes_phones:
        return None
    own = spec.vocabulary.normalizer
    return own if normalizer is None else Normalizer.named(normalizer, language=own.language)


def scoring(
    part: CorpusSplit, spec: SearchSpec, normalizer: NormalizerName | None = None
) -> Callable[[Utterance, str], Alignment]:
    """A function that aligns an utterance of `part` with the text that the search found.

    normalizer: how both are spelled; None takes the model's own. Phones are not normalised.

    Raises UserError for utterances without a transcript, or without phones that can be folded, and
    where normalising leaves nothing of any reference.
    """
    what = "phones" if spec.writes_phones else "transcript"
    silent = [u.id for u in part.utterances if (u.phones if spec.writes_phones else u.text) is None]
    if silent:
        raise UserError(
            f"{part.name}: {counted(len(silent), 'utterance', 'has', 'have')} no {what} to compare "
            f"with, {silent[0]} first."
        )
    normalize = normalizer_of(spec, normalizer)
    if normalize is not None:
        if not any(normalize(utterance.text or "") for utterance in part.utterances):
            raise UserError(
                f"{part.name}: the {normalize.name} normaliser leaves nothing of any reference, so "
                "there is no error rate. Are they in another script? --normalizer basic keeps all."
            )
        return lambda utterance, text: align(utterance.text or "", text, normalize)
    timit = spec.vocabulary.phone_set is not None
    for utterance in part.utterances if timit else ():
        try:
            fold(utterance.phones or (), 39)
        except PhoneError as error:
            raise UserError(f"{part.name}, {utterance.id}: {error}") from None
    return lambda utterance, text: align_phones(utterance.phones or (), text.split(), timit)


def lacking(
    part: CorpusSplit,
    spec: SearchSpec,
    words: Sequence[str],
    normalizer: NormalizerName | None = None,
) -> str | None:
    """A sentence on the reference words that are not among those searched for; None without any.

    words: those that the search can find. They are compared as references and transcripts are.
    """
    normalize = normalizer_of(spec, normalizer)
    if normalize is None:
        return None
    known = set(normalize(" ".join(words)).split())
    said = [word for u in part.utterances for word in normalize(u.text or "").split()]
    missing = Counter(word for word in said if word not in known)
    if not missing:
        return None
    count = sum(missing.values())
    where = "lexicon" if spec.lexicon or spec.lm is None else "language model"
    examples = ", ".join(word for word, _ in missing.most_common(EXAMPLES))
    result = "cannot be found" if spec.weights.unk_score == -math.inf else "are found by letters"
    return (
        f"{part.name}: {count} of {len(said)} reference words ({count / len(said):.1%}) are not in "
        f"the {where}, {examples} for example, and {result}."
    )


def unwritable(
    part: CorpusSplit, vocabulary: Vocabulary, normalizer: NormalizerName | None = None
) -> str | None:
    """A sentence on the reference words that the model has no letters for; None without any.

    Digits are the usual ones. Such words are errors whatever was heard. A `normalizer` other than
    the model's spells the transcripts anew, so that nothing can be said; nor of phones and pieces.
    """
    spell = vocabulary.normalizer
    if vocabulary.units != "characters" or normalizer not in (None, spell.name):
        return None
    written = set(vocabulary.letters)
    if spell.case != "keep":  # the texts are compared in one case, whichever the model writes
        written |= {c for letter in vocabulary.letters for c in (letter.lower(), letter.upper())}
    characters: Counter[str] = Counter()
    words: list[tuple[str, str]] = []
    for utterance in part.utterances:
        for word in spell(utterance.text or "").split():
            strange = [c for c in vocabulary.symbols_of(word) if c not in written]
            characters.update(strange)
            words += [(word, utterance.id)] if strange else []
    if not words:
        return None
    listed = ", ".join(f"{c!r} {count}" for c, count in characters.most_common(SHOWN))
    listed += " and others" if len(characters) > SHOWN else ""
    first, where = words[0]
    return (
        f"{part.name}: {len(words)} words in {len({name for _, name in words})} references have "
        f"characters that the model cannot write ({listed}), {first} in {where} first. Each is an "
        "error, whatever was heard: write numbers as they are said."
    )
