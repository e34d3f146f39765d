"""Language models of three words over two letters, small enough to enumerate, and emissions."""

import numpy as np

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
