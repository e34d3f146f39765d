"""How well a language model tells a text: log-probabilities of sentences, perplexity per word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from lm.language_model import LanguageModel, LanguageModelError, WholeSentences

TOGETHER = 256  # sentences that are scored in one go


class KnowingModel(LanguageModel[Any], Protocol):
    """A language model that says which words it has."""

    def knows(self, word: str) -> bool:
        """Whether the model has `word`, or takes it for <unk>."""


@dataclass(frozen=True)
class Perplexity:
    """Sums over a text, natural log; the ends of sentences are predicted, and count, like words."""

    sentences: int = 0
    words: int = 0
    unknown: int = 0
    """Of the words, those that the model takes for <unk>."""
    log_prob: float = 0.0
    """Of everything."""
    unknown_log_prob: float = 0.0
    """Of the unknown words alone."""

    @property
    def including(self) -> float:
        """Perplexity with unknown words; each counts as <unk>, whichever word it is."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def excluding(self) -> float:
        """Perplexity without unknown words; they stay in the histories of the others."""
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


def perplexity(model: KnowingModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Of a whole text: see `score_text`."""
    return sum(score_text(model, sentences), Perplexity())


def score_text(model: KnowingModel, sentences: Iterable[Sequence[str]]) -> Iterator[Perplexity]:
    """Each sentence by itself, in order. `model.words` must hold all of their words, known or not.

    Raises LanguageModelError for a word that it does not hold.
    """
    index = {word: number for number, word in enumerate(model.words)}
    stream = iter(sentences)
    to_nats = math.log(model.log_base)
    while batch := list(islice(stream, TOGETHER)):
        try:
            numbers = [[index[word] for word in sentence] for sentence in batch]
        except KeyError as error:
            raise LanguageModelError(
                f"The model was not told of the word {error.args[0]!r}."
            ) from None
        for sentence, scores in zip(batch, _scores(model, numbers), strict=True):
            unknown = [place for place, word in enumerate(sentence) if not model.knows(word)]
            total, of_unknown = float(scores.sum()), float(scores[unknown].sum())
            yield Perplexity(1, len(sentence), len(unknown), total * to_nats, of_unknown * to_nats)


def _scores(model: KnowingModel, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """For each sentence the log p, in the model's base, of its words and of its end."""
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
