"""n-best lists scored again with another language model: score = acoustic + lm_weight · LM + word_score · words.

All hypotheses of all utterances go through the model together, a word at a time. A beginning that several share is one
row, whichever utterances they belong to. Boundary frames are not scored again, and every word counts alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lm.hypothesis import DecodingWeights, Hypothesis
from lm.language_model import LanguageModel, LanguageModelError

UNK = "<unk>"


def rescore(
    nbest: Sequence[Hypothesis], lm: LanguageModel[Any], weights: DecodingWeights, first_pass_weight: float = 0.0
) -> list[Hypothesis]:
    """The hypotheses of one utterance with their new scores, best first: see `rescore_all`."""
    return rescore_all([nbest], lm, weights, first_pass_weight)[0]


def rescore_all(
    nbests: Sequence[Sequence[Hypothesis]],
    lm: LanguageModel[Any],
    weights: DecodingWeights,
    first_pass_weight: float = 0.0,
) -> list[list[Hypothesis]]:
    """Lists of hypotheses -> the same with new scores, each best first; hypotheses of equal scores keep their order.

    `lm_score` becomes that of `lm`; first_pass_weight adds so much of the language model score that the search gave.
    Raises LanguageModelError when `lm` has no index for a word and none for <unk>.
    """
    known = {word: i for i, word in enumerate(lm.words)}
    texts = [tuple(_index(word.text, known) for word in h.words) for nbest in nbests for h in nbest]
    scores = dict(zip(unique := list(dict.fromkeys(texts)), sentence_scores(lm, unique), strict=True))
    remaining = iter(texts)
    return [
        sorted(
            (_rescored(h, scores[next(remaining)], weights, first_pass_weight) for h in nbest), key=lambda h: -h.score
        )
        for nbest in nbests
    ]


def sentence_scores(lm: LanguageModel[Any], sentences: Sequence[Sequence[int]]) -> list[float]:
    """log p of each sentence, its end included; equal states of equal length are one row of a call."""
    states: list[Hashable] = list(lm.start(len(sentences)))
    totals = np.zeros(len(sentences))
    for place in range(max(map(len, sentences), default=0)):
        going = [i for i, sentence in enumerate(sentences) if len(sentence) > place]
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


def _index(word: str, known: dict[str, int]) -> int:
    index = known.get(word, known.get(UNK))
    if index is None:
        raise LanguageModelError(f"The language model has no index for the word {word!r}, and none for {UNK}.")
    return index


def _rescored(
    hypothesis: Hypothesis, lm_score: float, weights: DecodingWeights, first_pass_weight: float
) -> Hypothesis:
    score = hypothesis.acoustic_score + weights.lm_weight * lm_score + weights.word_score * len(hypothesis.words)
    return replace(hypothesis, lm_score=lm_score, score=score + first_pass_weight * hypothesis.lm_score)
