"""n-best lists scored again with another language model.

score = acoustic + lm_weight * LM + word_score * words + bonuses of hot words

All hypotheses of all utterances go through the model together, one word at a time. Hypotheses with
the same beginning share a row of the model's batch. Boundary frames are not scored again, and
unknown words count like others.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.language_model import UNK, LanguageModel, Stateful, index_of
from lm.search.hotwords import bonus_of


class WithFloor:
    """A model in which the hot words that it lacks do not score below a floor."""

    def __init__(self, lm: LanguageModel[Any], hotwords: Mapping[str, float], floor: float) -> None:
        """floor: log10 p. A model without <unk> lacks no word, and has none to raise."""
        known = set(lm.words)
        lacking = dict.fromkeys(word for phrase in hotwords for word in phrase.split())
        self._lm, self._own = lm, len(lm.words)
        self.words = [*lm.words, *(w for w in lacking if w not in known and UNK in known)]
        self.log_base = lm.log_base
        self._unknown = lm.words.index(UNK) if UNK in known else 0
        self._floor = floor * math.log(10) / math.log(lm.log_base)

    def start(self, count: int = 1) -> list[Any]:
        """See `LanguageModel`."""
        return self._lm.start(count)

    def score(self, states: Sequence[Any], words: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
        """See `LanguageModel`."""
        lacking = np.asarray(words) >= self._own
        asked = np.where(lacking, self._unknown, words).tolist()
        scores, after = self._lm.score(states, asked)
        return np.where(lacking, np.maximum(scores, self._floor), scores), after

    def finish(self, states: Sequence[Any]) -> np.ndarray:
        """See `LanguageModel`."""
        return self._lm.finish(states)

    def retain(self, states: Sequence[Any] = ()) -> None:
        """See `Stateful`; a model that holds nothing forgets nothing."""
        if isinstance(self._lm, Stateful):
            self._lm.retain(states)

    def expect(self, states: Sequence[Any]) -> None:
        """See `Stateful`."""
        if isinstance(self._lm, Stateful):
            self._lm.expect(states)


def lm_scores(nbests: Sequence[Sequence[Hypothesis]], lm: LanguageModel[Any]) -> list[list[float]]:
    """log p of each hypothesis of each list, in the base of `lm`. Equal texts are scored once.

    Raises LanguageModelError when `lm` has no index for a word and none for <unk>.
    """
    known = {word: i for i, word in enumerate(lm.words)}
    texts = [
        [tuple(index_of(word.text, known) for word in h.words) for h in nbest] for nbest in nbests
    ]
    unique = list(dict.fromkeys(text for nbest in texts for text in nbest))
    scores = dict(zip(unique, sentence_scores(lm, unique), strict=True))
    return [[scores[text] for text in nbest] for nbest in texts]


def ranked(
    nbest: Sequence[Hypothesis],
    scores: Sequence[float],
    weights: DecodingWeights,
    first_pass_weight: float = 0.0,
    hotwords: Mapping[str, float] | None = None,
) -> list[Hypothesis]:
    """The hypotheses of one utterance with new scores, best first; ties keep their order.

    scores: the new `lm_score` of each. first_pass_weight: weight of the old one in the new score.
    hotwords: bonuses by word or phrase.
    """
    found = [
        replace(
            h,
            lm_score=score,
            score=h.acoustic_score
            + weights.lm_weight * score
            + weights.word_score * len(h.words)
            + first_pass_weight * h.lm_score
            + bonus_of([word.text for word in h.words], hotwords or {}),
        )
        for h, score in zip(nbest, scores, strict=True)
    ]
    return sorted(found, key=lambda h: -h.score)


def sentence_scores(lm: LanguageModel[Any], sentences: Sequence[Sequence[int]]) -> list[float]:
    """log p of each sentence, its end included, in the base of `lm`.

    Sentences with equal states and the same next word share a row of the call.
    """
    states: list[Hashable] = list(lm.start(len(sentences)))
    totals = np.zeros(len(sentences))
    for place in range(max(map(len, sentences), default=0)):
        going = [i for i, sentence in enumerate(sentences) if len(sentence) > place]
        # (sentences that go on,) -> (distinct pairs of a state and a word,)
        asked = [(states[i], sentences[i][place]) for i in going]
        pairs = list(dict.fromkeys(asked))
        scores, after = lm.score([state for state, _ in pairs], [word for _, word in pairs])
        answers = dict(zip(pairs, zip(scores.tolist(), after, strict=True), strict=True))
        for i, pair in zip(going, asked, strict=True):
            score, states[i] = answers[pair]
            totals[i] += score
    distinct = list(dict.fromkeys(states))
    ends = dict(zip(distinct, lm.finish(distinct).tolist(), strict=True))
    return [float(total) + ends[state] for total, state in zip(totals, states, strict=True)]
