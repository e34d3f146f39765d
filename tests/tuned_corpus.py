"""A corpus with tables for searches, each utterance has a few hypotheses; and tuning on it.

As a program it tunes on a study that others may share, and prints what it found.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from lm.score_parts import ScoreParts
from lm.weights.proposals import propose
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition.tuning import trials as tuning
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Study
from w2v2cli.recognition.tuning.trials import Tuning

UTTERANCES = 60
LETTERS = "ABCDEFGHIJ"


class Corpus:
    """Utterances of ten words; the more words of a hypothesis are wrong, the worse its scores."""

    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        self.segments = tuple(((i, i + 1),) for i in range(UTTERANCES))
        self.lists, self.searched = [], 0
        for _ in range(UTTERANCES):
            found = []
            for wrong in range(8):
                words = [*LETTERS[: 10 - wrong], *("X" * int(generator.integers(0, wrong + 1)))]
                acoustic = -30 - generator.normal(0.5 * wrong, 4) + 0.5 * len(words)
                found.append((words, acoustic, -12 - generator.normal(1.2 * wrong, 1.5)))
            self.lists.append(found)
        self.references = References(
            [Utterance(str(i), Path(), " ".join(LETTERS)) for i in range(UTTERANCES)]
        )

    def of(self, utterance):
        return [np.full((1, 1), utterance, np.float32)]

    def submit(self, emission, weights):
        return [self.search(int(emission[0, 0]), each) for each in weights]

    def search(self, utterance, weights):
        self.searched += 1
        hypotheses = [
            ScoreParts(" ".join(words), acoustic, lm, len(words))
            for words, acoustic, lm in self.lists[utterance]
        ]
        future = Future()
        future.set_result(sorted(hypotheses, key=lambda h: -h.score(weights))[:4])
        return future

    def tune(self, folder, options, workers=1, at_once=1):
        with Study(folder / "study.sqlite", {}) as study:
            tuning = Tuning(options, self.references, self, study, self.submit, workers, at_once)
            return tuning.run()


def random_points(bounds, seed, batch, *_):
    """Points that take no time: the proposals of a Gaussian process have tests of their own."""
    if batch == 0:
        return propose(bounds, seed * 1000 + batch, 0)
    return [bounds.at(s) for s in np.random.default_rng([seed, batch]).random((8, 2))]


def main(folder: str, trials: int, seconds: float) -> None:
    """Tune once a line comes; every search takes some seconds.

    Prints a line for each search, and what was found as JSON.
    """
    tuning.propose = random_points
    corpus = Corpus()
    search = corpus.search

    def slow(utterance, weights):
        time.sleep(seconds)
        print("searched", flush=True)
        return search(utterance, weights)

    corpus.search = slow
    print("ready", flush=True)
    sys.stdin.readline()
    found = corpus.tune(Path(folder), TuningOptions(trials))
    best = found.best
    print(json.dumps([found.cost, best.number, best.rate, list(best.point), found.interval]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
