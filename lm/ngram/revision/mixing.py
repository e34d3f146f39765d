"""N-gram models mixed into one: p(w|h) = sum of weight · p_i(w|h), as by SRILM's `-mix-lm`.

The mixture holds every n-gram that one of the models holds, with exactly that probability. Backoffs
are made anew, so that probabilities sum to one over the words of all models; what backs off has
therefore nearly, not exactly, the weighted sum. A word that a model lacks has no probability by it,
and is its <unk> in a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lm.language_model import UNK
from lm.ngram.kneser_ney import BOS, EOS
from lm.ngram.revision.trie import ROOT, NgramTrie, backoffs, make_trie

ROUNDS = 2000  # of EM at most; weights near 0 come slowly
CLOSE = 1e-7  # change of a weight that is none


@dataclass(frozen=True)
class Weights:
    """Weights that fit a text."""

    values: tuple[float, ...]
    """They sum to one."""
    words: int
    """Words and ends of sentences that they were fitted on."""
    unknown: int
    """Words of the text that no model has; they were left out."""
    perplexities: tuple[float, ...]
    """Of each model on the same words, infinite where it lacks one."""
    perplexity: float
    """Of the weighted sum."""


def mix(models: Sequence[NgramTrie], weights: Sequence[float]) -> NgramTrie:
    """The mixture. Raises ValueError for weights that are none, or not one for each model."""
    if len(weights) != len(models):
        raise ValueError(f"{len(models)} models need {len(models)} weights, got {len(weights)}.")
    if not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < np.inf:
        raise ValueError(
            f"Weights are 0 or more and not all 0; got {' '.join(f'{w:g}' for w in weights)}."
        )
    shares = np.array(weights) / sum(weights)
    used = [(model, share) for model, share in zip(models, shares, strict=True) if share > 0]
    union = _union([model for model, _ in used])
    mass = np.zeros(len(union.parent))
    for model, share in used:
        mass += share * 10.0 ** _scores(union, model)
    begin = 1 + union.number(BOS)
    with np.errstate(divide="ignore"):
        log_prob = np.log10(mass)
    log_prob[begin] = max(model.log_prob[1 + model.number(BOS)] for model, _ in used)
    mixed = replace(union, log_prob=log_prob)
    return replace(mixed, backoff=backoffs(mixed))


def fit_weights(models: Sequence[NgramTrie], sentences: Iterable[Sequence[str]]) -> Weights:
    """The weights that make a text likeliest, by expectation maximisation.

    Raises ValueError for a text of which no model has a word.
    """
    union = {word for model in models for word in model.vocabulary} - {BOS, UNK}
    kept = [[*sentence, EOS] for sentence in sentences]
    known = np.array([word in union for sentence in kept for word in sentence], bool)
    if known.sum() == len(kept):  # the ends of the sentences alone
        raise ValueError("No model has a word of the text that weights are to be fitted on.")
    scores = np.stack([text_scores(model, kept)[known] for model in models])
    likely = 10.0**scores
    shares = np.full(len(models), 1 / len(models))
    for _ in range(ROUNDS):
        joint = shares[:, None] * likely
        after = (joint / joint.sum(axis=0)).mean(axis=1)
        close = np.abs(after - shares).max() < CLOSE
        shares = after
        if close:
            break
    each = (10.0 ** -scores.mean(axis=1)).tolist()
    whole = float(10.0 ** -np.log10(shares @ likely).mean())
    return Weights(
        tuple(shares.tolist()), int(known.sum()), int((~known).sum()), tuple(each), whole
    )


def text_scores(model: NgramTrie, sentences: Sequence[Sequence[str]]) -> np.ndarray:
    """log10 p of each word of sentences that end with </s>, in their order; -inf for unknown ones.

    A word that the model lacks is its <unk> in the history of the next ones.
    """
    numbers = {word: number for number, word in enumerate(model.vocabulary)}
    lengths = np.array([len(sentence) for sentence in sentences])
    flat = np.array([numbers.get(word, -1) for s in sentences for word in s], np.int64)
    starts = np.cumsum(lengths) - lengths
    scores = np.empty(len(flat))
    states = np.full(len(sentences), 1 + numbers[BOS], np.int64)
    for step in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > step)
        at = starts[rows] + step
        scores[at], states[rows] = _after(model, states[rows], flat[at])
    return scores


def _union(models: Sequence[NgramTrie]) -> NgramTrie:
    """The n-grams of all models, without figures."""
    numbers: dict[str, int] = {}
    for model in models:
        for word in model.vocabulary:
            numbers.setdefault(word, len(numbers))
    mappings = [np.array([numbers[word] for word in m.vocabulary], np.int32) for m in models]
    grams = []
    for n in range(1, max(model.order for model in models) + 1):
        rows = [
            mapping[model.words_of(np.arange(model.begins[n], model.begins[n + 1]), n)]
            for model, mapping in zip(models, mappings, strict=True)
            if n <= model.order
        ]
        grams.append(np.unique(np.concatenate(rows), axis=0))
    nothing = [np.zeros((len(words), 2)) for words in grams]
    return make_trie(tuple(numbers), grams, nothing)


def _scores(union: NgramTrie, model: NgramTrie) -> np.ndarray:
    """(N,) log10 p that a model gives each n-gram of the union; -inf for words that it lacks."""
    numbers = {word: number for number, word in enumerate(model.vocabulary)}
    mapping = np.array([numbers.get(word, -1) for word in union.vocabulary], np.int64)
    states = np.zeros(len(union.parent), np.int64)
    scores = np.zeros(len(union.parent))
    for n in range(1, union.order + 1):
        nodes = union.nodes(n)
        before, words = states[union.parent[nodes]], mapping[union.word[nodes]]
        scores[nodes], states[nodes] = _after(model, before, words)
    return scores


def _after(
    model: NgramTrie, states: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`NgramTrie.score`, but after a word that the model lacks it is as after <unk>."""
    scores, after = model.score(states, words)
    lacking = np.flatnonzero(words < 0)
    unknown = model.number(UNK)
    if unknown >= 0 and lacking.size:
        after[lacking] = model.score(states[lacking], np.full(len(lacking), unknown))[1]
    elif lacking.size:
        after[lacking] = ROOT
    return scores, after
