"""Language models of words over two letters, emissions, and the scores of all there is in them."""

import itertools

import numpy as np

from lm.text.vocabulary import Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))

TWO_WORDS = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.4
-0.7\t</s>
-0.6\tA\t-0.2
-0.9\tB\t-0.3

\\2-grams:
-0.3\t<s> A
-0.5\tA B

\\end\\
"""

BIGRAMS = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.4
-0.7\t</s>
-0.6\tA\t-0.2
-0.9\tAB\t-0.3
-1.1\tBA\t-0.1

\\2-grams:
-0.3\t<s> A
-0.5\tA BA
-0.2\tAB A
-0.9\tA </s>
-0.8\tBA </s>

\\end\\
"""

TRIGRAMS = """\\data\\
ngram 1=6
ngram 2=6
ngram 3=3

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.4
-0.7\t</s>
-0.6\tA\t-0.2
-0.9\tAB\t-0.3
-1.1\tBA

\\2-grams:
-0.3\t<s> A\t-0.11
-0.5\tA BA\t0
-0.45\tA AB
-0.2\tAB A\t-0.07
-0.9\tA </s>
-0.8\tBA </s>

\\3-grams:
-0.35\t<s> A BA
-0.15\tAB A </s>
-0.25\tA AB A

\\end\\
"""


def random_emission(frames: int, seed: int, symbols: int = 4) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, symbols))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def padded(emissions) -> tuple[np.ndarray, list[int]]:
    lengths = [len(emission) for emission in emissions]
    batch = np.zeros((len(emissions), max(lengths), emissions[0].shape[1]), np.float32)
    for row, emission in zip(batch, emissions, strict=True):
        row[: len(emission)] = emission
    return batch, lengths


def enumerated(emission, weights, spellings, model, hotwords=None) -> dict[tuple[str, ...], float]:
    """The score of every sequence of words that all end in a boundary, by its best path.

    A boundary on the first frame goes on with the silence before the utterance.
    """
    paths: dict[str, list[float]] = {}
    for path in itertools.product(range(4), repeat=len(emission)):
        text = "".join(
            SMALL.symbols[s] for s, _ in itertools.groupby((1, *path)) if s != SMALL.blank
        )[1:]
        score = float(
            emission[range(len(path)), path].sum(dtype=np.float64)
        ) + weights.sil_score * path.count(1)
        paths.setdefault(text, []).append(score)
    totals: dict[tuple[str, ...], list[float]] = {}
    for text, scores in paths.items():
        written = [part for part in text.split("|") if part]
        if written and not text.endswith("|"):
            continue
        for words in itertools.product(*(spellings.get(letters, ()) for letters in written)):
            totals.setdefault(words, []).extend(scores)
    return {
        words: max(scores)
        + weights.word_score * len(words)
        + weights.lm_weight * (0.0 if model is None else said(model, words))
        + sum((hotwords or {}).get(word, 0.0) for word in words)
        for words, scores in totals.items()
    }


def said(model, words) -> float:
    states, total = model.start(), 0.0
    for word in words:
        score, states = model.score(states, [model.words.index(word)])
        total += score[0]
    return total + model.finish(states)[0]
