"""n-best lists scored again with another language model: score = acoustic + lm_weight · LM + word_score · words + hot words.

All hypotheses of all utterances go through the model together, a word at a time. A beginning that several share is one
row, whichever utterances they belong to. Boundary frames are not scored again, and every word counts alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.language_model import LanguageModel, LanguageModelError

UNK = "<unk>"


def lm_scores(nbests: Sequence[Sequence[Hypothesis]], lm: LanguageModel[Any]) -> list[list[float]]:
    """log p of each hypothesis of each list, in the base of `lm`; a text that several have is scored once.

    Raises LanguageModelError when `lm` has no index for a word and none for <unk>.
    """
    known = {word: i for i, word in enumerate(lm.words)}
    texts = [
        [tuple(_index(word.text, known) for word in h.words) for h in nbest] for nbest in nbests
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
    """The hypotheses of one utterance, best first by their new scores; equal ones keep their order.

    `lm_score` becomes that of `scores`; first_pass_weight adds so much of the language model score that the search gave.
    """
    bonus = (hotwords or {}).get
    found = [
        replace(
            h,
            lm_score=score,
            score=h.acoustic_score
            + weights.lm_weight * score
            + weights.word_score * len(h.words)
            + first_pass_weight * h.lm_score
            + sum(bonus(word.text, 0.0) for word in h.words),
        )
        for h, score in zip(nbest, scores, strict=True)
    ]
    return sorted(found, key=lambda h: -h.score)


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
        raise LanguageModelError(
            f"The language model has no index for the word {word!r}, and none for {UNK}."
        )
    return index
