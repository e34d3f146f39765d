"""How well a language model predicts a text: log p of sentences, perplexity per word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from lm.language_model import LanguageModel, LanguageModelError, WholeSentences

TOGETHER = 256  # sentences that are scored together


class VocabularyModel(LanguageModel[Any], Protocol):
    """A language model that can tell which words it has."""

    def knows(self, word: str) -> bool:
        """Whether the model has `word`; otherwise it scores it as <unk>."""


@dataclass(frozen=True)
class Perplexity:
    """Sums over a text, in natural log.

    The end of a sentence is predicted and counts like a word in the perplexities.
    """

    sentences: int = 0
    """Number of sentences."""
    words: int = 0
    """Number of words, without the ends of sentences."""
    unknown: int = 0
    """Number of words that the model scores as <unk>."""
    log_prob: float = 0.0
    """Sum of log p over all words and ends of sentences."""
    unknown_log_prob: float = 0.0
    """Sum of log p over the unknown words alone."""

    @property
    def including(self) -> float:
        """Perplexity with unknown words, each scored as <unk>; nan for no text."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def excluding(self) -> float:
        """Perplexity without unknown words, which remain in the histories of the others."""
        return _perplexity(
            self.log_prob - self.unknown_log_prob, self.words + self.sentences - self.unknown
        )

    def __add__(self, other: Perplexity) -> Perplexity:
        return Perplexity(
            self.sentences + other.sentences,
            self.words + other.words,
            self.unknown + other.unknown,
            self.log_prob + other.log_prob,
            self.unknown_log_prob + other.unknown_log_prob,
        )


def perplexity(model: VocabularyModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Sum up a text. Arguments and errors as those of `score_text`."""
    return sum(score_text(model, sentences), Perplexity())


def score_text(model: VocabularyModel, sentences: Iterable[Sequence[str]]) -> Iterator[Perplexity]:
    """Yield the sums of each sentence, in order.

    model: `model.words` must hold every word of the text, known to the model or not. Raises
    LanguageModelError for a word that it does not hold.
    """
    index = {word: number for number, word in enumerate(model.words)}
    stream = iter(sentences)
    to_nats = math.log(model.log_base)
    while batch := list(islice(stream, TOGETHER)):
        try:
            numbers = [[index[word] for word in sentence] for sentence in batch]
        except KeyError as error:
            raise LanguageModelError(
                f"The word {error.args[0]!r} is not among the words the model was opened for."
            ) from None
        for sentence, scores in zip(batch, _scores(model, numbers), strict=True):
            unknown = [place for place, word in enumerate(sentence) if not model.knows(word)]
            total, of_unknown = float(scores.sum()), float(scores[unknown].sum())
            yield Perplexity(1, len(sentence), len(unknown), total * to_nats, of_unknown * to_nats)


def _scores(model: VocabularyModel, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """For each sentence the (words + 1,) log p of its words and its end, in the model's base."""
    if isinstance(model, WholeSentences):
        return model.score_sentences(sentences)
    scores = [np.zeros(len(sentence) + 1) for sentence in sentences]
    states = model.start(len(sentences))
    for step in range(max(map(len, sentences), default=0)):
        rows = [row for row, sentence in enumerate(sentences) if len(sentence) > step]
        found, after = model.score(
            [states[row] for row in rows], [sentences[row][step] for row in rows]
        )
        for row, score, state in zip(rows, found, after, strict=True):
            scores[row][step], states[row] = score, state
    for row, score in enumerate(model.finish(states)):
        scores[row][-1] = score
    return scores


def _perplexity(log_prob: float, count: int) -> float:
    return math.exp(-log_prob / count) if count else math.nan
