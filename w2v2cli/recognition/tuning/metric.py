"""The number that tuning lowers: errors in words, characters or phones of each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jiwer

from lm.text.normalizers import Normalizer
from lm.text.scripts import characters_of, is_unspaced
from w2v2cli.console import counted
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import align

Metric = Literal["wer", "cer", "per"]
ENGLISH = Normalizer()
UNITS: dict[Metric, str] = {"wer": "words", "cer": "characters", "per": "phones"}


class References:
    """The reference transcripts of a corpus, and the errors of hypotheses against them."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        metric: Metric | None = "wer",
        normalize: Normalizer = ENGLISH,
    ) -> None:
        """Normalise the references; hypotheses are normalised as they come.

        metric: None takes cer where the references are in a script without spaces, else wer.
        With `per` a reference is the utterance's phones, else the symbols of its text, folded to
        39 if they are TIMIT's; hypotheses are symbols separated by spaces.

        Raises UserError for utterances without a transcript, and where no transcript has a word.
        """
        silent = [
            utterance.id
            for utterance in utterances
            if utterance.text is None and not utterance.phones
        ]
        if silent:
            raise UserError(
                f"{counted(len(silent), 'utterance', 'has', 'have')} no transcript to compare "
                f"with, {silent[0]} first."
            )
        if metric is None:
            said = "".join(normalize(utterance.text or "") for utterance in utterances)
            metric = "cer" if is_unspaced(said) else "wer"
        self.metric: Metric = metric
        self._normalize = normalize
        self._texts = [_spelled(utterance, metric, normalize) for utterance in utterances]
        self.lengths = [
            len(characters_of(text)) if metric == "cer" else len(text.split())
            for text in self._texts
        ]
        """Length of each reference, in the metric's units."""
        self._known: dict[tuple[int, str], int] = {}
        if not self.length:
            raise UserError(
                f"The transcripts hold no {UNITS[metric]}: there is nothing to tune for."
            )

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def length(self) -> int:
        """Length of all references together."""
        return sum(self.lengths)

    @property
    def texts(self) -> tuple[str, ...]:
        """The references, normalised."""
        return tuple(self._texts)

    def errors(self, utterance: int, text: str) -> int:
        """Errors of a hypothesis for an utterance; each is aligned only once."""
        key = (utterance, text)
        if key not in self._known:
            self._known[key] = self._count(self._texts[utterance], text)
        return self._known[key]

    def _count(self, reference: str, text: str) -> int:
        if self.metric == "per":
            if not reference:
                return len(_phones(text.split()).split())
            return _differences(reference, _phones(text.split()))
        if self.metric == "wer" and reference:  # `align` would count characters too
            return _differences(reference, self._normalize(text))
        alignment = align(reference, text, self._normalize)
        return (alignment.words if self.metric == "wer" else alignment.characters).errors


def _differences(reference: str, text: str) -> int:
    output = jiwer.process_words(reference, text)
    return output.substitutions + output.deletions + output.insertions


def _spelled(utterance: Utterance, metric: Metric, normalize: Normalizer) -> str:
    if metric != "per":
        return normalize(utterance.text or "")
    return _phones(utterance.phones or (utterance.text or "").split())


def _phones(symbols: Sequence[str]) -> str:
    """TIMIT's phones folded to the 39 that are scored, other symbols unchanged."""
    from lm.text.phones import fold

    try:
        return " ".join(fold(symbols, 39))
    except ValueError:
        return " ".join(symbols)
