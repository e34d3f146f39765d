"""Estimation of n-gram models: interpolated modified Kneser-Ney, as KenLM's `lmplz` does it.

Sources: Chen and Goodman (1998), "An Empirical Study of Smoothing Techniques for Language
Modeling"; Heafield et al. (2013), "Scalable Modified Kneser-Ney Language Model Estimation". Below
the highest order, the count of an n-gram is the number of distinct words that precede it, except
for n-grams that begin a sentence, which count their occurrences. Each order has discounts of its
own, from the counts of these counts before pruning.

Legend: G n-grams of one order n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lm.language_model import UNK

BOS, EOS = "<s>", "</s>"
SPECIAL = (UNK, BOS, EOS)  # ids 0, 1, 2
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # those of lmplz --discount_fallback
NO_WORD = "There is no word in the text to estimate a language model from."

Sentence = Sequence[str]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class OrderCounts:
    """The G distinct n-grams of one order."""

    words: np.ndarray
    """(G,) int32, id of the last word of each."""
    prefix: np.ndarray
    """(G,) int32, index of all but the last word in the order below."""
    suffix: np.ndarray
    """(G,) int32, index of all but the first word in the order below."""
    raw: np.ndarray
    """(G,) int64, number of occurrences."""
    adjusted: np.ndarray
    """(G,) int64, the count that Kneser-Ney uses: the number of distinct preceding words.

    In the highest order, and for n-grams that begin a sentence, the number of occurrences.
    """


@dataclass(frozen=True)
class NgramCounts:
    """All n-grams of a text, by order."""

    vocabulary: tuple[str, ...]
    """Word of each id; the first three are <unk>, <s>, </s>."""
    orders: tuple[OrderCounts, ...]


@dataclass(frozen=True)
class BackoffOrder:
    """The G n-grams of one order that a model keeps."""

    words: np.ndarray
    """(G, n) int32 word ids."""
    log_prob: np.ndarray
    """(G,) float64, log10."""
    backoff: np.ndarray
    """(G,) float64, log10; 0 for an n-gram that is not a context."""


@dataclass(frozen=True)
class BackoffModel:
    """An n-gram model as ARPA files list it: vocabulary by id, n-grams by order."""

    vocabulary: tuple[str, ...]
    orders: tuple[BackoffOrder, ...]


def count_ngrams(sentences: Iterable[Sentence], order: int) -> NgramCounts:
    """Count every n-gram of up to `order` words; each sentence is put between <s> and </s>.

    An empty sentence counts too, as <s> </s>. Raises ValueError for an order below 1, for a text
    without words, and for a text that uses <s>, </s> or <unk> as a word.
    """
    if order < 1:
        raise ValueError(f"--order must be at least 1, got {order}.")
    vocabulary, tokens, offsets = _tokenize(sentences)
    size = len(vocabulary)
    levels: list[dict[str, np.ndarray]] = []
    ids = tokens.astype(np.int64)
    below = ids  # at each position, the index of the n-gram of the order below that ends there
    for n in range(1, order + 1):
        # Positions at which an n-gram ends; the <s> of a sentence has offset 0 and ends none.
        ends = np.flatnonzero(offsets >= max(n - 1, 1))
        if n == 1:
            keys = ids[ends]
        else:
            keys = below[ends - 1] * size + tokens[ends]
        distinct, first, inverse, raw = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        where = ends[first]
        level = {"words": tokens[where], "raw": raw, "begins": offsets[where] == n - 1}
        if n > 1:
            level["prefix"], level["suffix"] = (
                below[where - 1].astype(np.int32),
                below[where].astype(np.int32),
            )
            below = np.full(len(tokens), -1, np.int64)
            below[ends] = inverse
        else:
            level, raw_by_id = {}, np.bincount(keys, minlength=size)
            nothing = np.zeros(size, np.int32)
            level = {
                "words": np.arange(size, dtype=np.int32),
                "raw": raw_by_id,
                "prefix": nothing,
                "suffix": nothing,
            }
            level["begins"] = np.zeros(size, bool)
        levels.append(level)
    return NgramCounts(vocabulary, _adjusted(levels))


def _tokenize(sentences: Iterable[Sentence]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Words by id; the text as (N,) int32 ids; (N,) the distance of each place from its <s>."""
    ids = {word: i for i, word in enumerate(SPECIAL)}
    pieces: list[np.ndarray] = []
    lengths: list[int] = []
    for sentence in sentences:
        for special in SPECIAL:
            if special in sentence:
                raise ValueError(
                    f"The text holds {special!r} as a word, in {' '.join(sentence)!r}: remove it."
                )
        pieces.append(
            np.array([1, *(ids.setdefault(word, len(ids)) for word in sentence), 2], np.int32)
        )
        lengths.append(len(sentence) + 2)
    if len(ids) == len(SPECIAL):
        raise ValueError(NO_WORD)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    offsets = np.arange(sum(lengths), dtype=np.int64) - np.repeat(starts, lengths)
    return tuple(ids), np.concatenate(pieces), offsets.astype(np.int32)


def _adjusted(levels: list[dict[str, np.ndarray]]) -> tuple[OrderCounts, ...]:
    """Add Kneser-Ney's counts: an n-gram has as many preceding words as it is a suffix above."""
    orders = []
    for level, above in zip(levels, [*levels[1:], None], strict=True):
        adjusted = level["raw"]
        if above is not None:
            preceding = np.bincount(above["suffix"], minlength=len(adjusted))
            adjusted = np.where(level["begins"], adjusted, preceding)
        orders.append(
            OrderCounts(level["words"], level["prefix"], level["suffix"], level["raw"], adjusted)
        )
    return tuple(orders)


def estimate(
    counts: NgramCounts,
    prune: Sequence[int] = (),
    warn: Warn = lambda sentence: None,
    words: int | Iterable[str] | None = None,
) -> BackoffModel:
    """Estimate the probabilities and backoffs of the n-grams that remain after pruning.

    prune: one threshold for each order, from 1 up; n-grams that occur that often or less are left
    out, as by `lmplz --prune`. The last value holds for all further orders. The first one must be
    0, and they must not fall.
    warn: called with a sentence when an order has too few n-grams to estimate its discounts from,
    and the fallback discounts are used.
    words: of the model, so many, the most frequent ones, or these; None for all. N-grams with
    another word are left out as those that are pruned are, and <unk> gets what is left.

    Raises ValueError for impossible thresholds.
    """
    thresholds = prune_thresholds(prune, len(counts.orders))
    allowed = _allowed(counts, words)
    # Below the unigrams: uniform over all words but <s>.
    lower = np.full(1, 1.0 / (allowed.sum() - 1))
    probabilities, gammas = [], []
    kept: list[np.ndarray] = []
    for n, (order, threshold) in enumerate(zip(counts.orders, thresholds, strict=True), 1):
        keep = allowed[order.words]
        if n > 1:
            keep &= (order.raw > threshold) & kept[-1][order.prefix]
        # How many n-grams have an adjusted count of 1, 2, 3 and 4.
        seen = np.bincount(order.adjusted[order.adjusted < 5], minlength=5)[1:5]
        discounts = discounts_from(seen.tolist(), n, warn)
        probability, gamma = _interpolated(order, keep, discounts, lower)
        probabilities.append(probability)
        gammas.append(gamma)
        kept.append(keep)
        lower = probability
    return _model(counts, probabilities, [*gammas[1:], None], kept)


def _allowed(counts: NgramCounts, words: int | Iterable[str] | None) -> np.ndarray:
    """(V,) whether each word is one of the model; <unk>, <s> and </s> always are."""
    allowed = np.ones(len(counts.vocabulary), bool)
    if isinstance(words, int):
        by_count = np.argsort(-counts.orders[0].raw[len(SPECIAL) :], kind="stable") + len(SPECIAL)
        allowed[by_count[words:]] = False
    elif words is not None:
        named = set(words) | set(SPECIAL)
        allowed[:] = [word in named for word in counts.vocabulary]
    return allowed


def prune_thresholds(prune: Sequence[int], orders: int) -> list[int]:
    """One threshold for each order: see `estimate`. Raises ValueError for impossible ones."""
    values = list(prune) or [0]
    if len(values) > orders:
        raise ValueError(f"--prune has {len(values)} thresholds for a model of order {orders}.")
    values += values[-1:] * (orders - len(values))
    if values[0] != 0:
        raise ValueError(
            f"--prune must begin with 0, since single words are never pruned; got {values[0]}."
        )
    if values != sorted(values):
        raise ValueError(
            f"--prune thresholds must not fall from one order to the next; got {values}."
        )
    return values


def discounts_from(seen: Sequence[int], n: int, warn: Warn) -> np.ndarray:
    """(4,) discounts of a count of 0, 1, 2, and 3 or more (Chen and Goodman, equation 26).

    seen: how many n-grams of n words have a count of 1, 2, 3 and 4. warn: see `estimate`.
    """
    if all(seen[:3]):
        y = seen[0] / (seen[0] + 2 * seen[1])
        result = np.array([0.0, *(j - (j + 1) * y * seen[j] / seen[j - 1] for j in (1, 2, 3))])
        if (result[1:] >= 0).all() and (result[1:] <= [1, 2, 3]).all():
            return result
    found = ", ".join(f"{count} seen {j}x" for j, count in enumerate(seen, 1))
    warn(
        f"Too few {n}-grams to estimate discounts from ({found}); "
        f"{n}-grams use the fallback {' '.join(map(str, FALLBACK_DISCOUNTS))}."
    )
    return np.array([0.0, *FALLBACK_DISCOUNTS])


def _interpolated(
    order: OrderCounts, keep: np.ndarray, discounts: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(G,) p of each n-gram, and γ of each of its contexts, the n-grams of the order below.

    lower: p of the n-grams of the order below. The discount of a kept n-gram, and the whole count
    of a pruned one, is given to the order below, in the share γ of its context.
    """
    contexts = len(lower)
    taken = np.where(keep, discounts[np.minimum(order.adjusted, 3)], order.adjusted)
    total = np.bincount(order.prefix, weights=order.adjusted, minlength=contexts)
    gamma = np.bincount(order.prefix, weights=taken, minlength=contexts)
    seen = total > 0
    gamma = np.divide(gamma, total, out=np.ones(contexts), where=seen)
    probability = (order.adjusted - taken) / total[order.prefix]
    return probability + gamma[order.prefix] * lower[order.suffix], gamma


def _model(
    counts: NgramCounts,
    probabilities: list[np.ndarray],
    gammas: list[np.ndarray | None],
    kept: list[np.ndarray],
) -> BackoffModel:
    orders = []
    # (G, n) words of every n-gram of the order, kept or not: the order above builds on them.
    words = np.zeros((0, 0), np.int32)
    for n, order in enumerate(counts.orders, 1):
        last = order.words[:, None].astype(np.int32)
        words = last if n == 1 else np.concatenate([words[order.prefix], last], axis=1)
        keep, gamma = kept[n - 1], gammas[n - 1]
        probability = probabilities[n - 1][keep]
        if n == 1:
            probability[SPECIAL.index(BOS)] = 1.0  # never asked for; lmplz writes a log of 0
        backoff = np.zeros(len(probability)) if gamma is None else np.log10(gamma[keep])
        orders.append(BackoffOrder(words[keep], np.log10(probability), backoff))
    return BackoffModel(counts.vocabulary, tuple(orders))
