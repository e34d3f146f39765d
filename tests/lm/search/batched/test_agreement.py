"""The batched search finds what the compiled one finds, in cases drawn at random.

More of them, with the number of differences:

    python -c "from test_agreement import main; main(3000, phrases=True)"    in this folder
"""

import itertools
import math
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import FixedNgramTensors, NgramTensors
from lm.search.batched import trie
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import ArpaFile, CompiledSearch
from lm.search.context import ALONE, Context, Entry
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

LETTERS = ("<pad>", "|", "A", "B", "C", "D")
TIED = 1e-5  # difference of scores that may be of rounding
PHONES = ("<pad>", "a", "b", "c", "d")


class Case:
    """An alphabet, a lexicon, a model and options; two searches over them."""

    def __init__(self, seed: int, folder: Path, phrases: bool = False) -> None:
        """phrases: draw some as well, and words before the utterances."""
        draw = self.draw = random.Random(seed)
        labels = draw.choice((LETTERS, PHONES))[: draw.randint(4, 6)]
        self.vocabulary = Vocabulary.from_labels(labels)
        letters, end = labels[2:] if "|" in labels else labels[1:], " |" if "|" in labels else ""
        words = [f"W{i}" for i in range(draw.randint(2, 12))]
        # Few spellings for many words: homophones, and several spellings of one.
        spellings = [
            " ".join(draw.choices(letters, k=draw.randint(1, 4))) for _ in range(len(words) + 2)
        ]
        rows = {(word, draw.choice(spellings)) for word in [*words, *words[:2]]}
        lines = [f"{word}\t{spelling}{end}\n" for word, spelling in sorted(rows)]
        (folder / "lexicon.txt").write_text("".join(lines))
        self.lexicon = Lexicon.read(folder / "lexicon.txt", self.vocabulary)
        self.hotwords = {words[0]: draw.uniform(-1, 2)} if draw.random() < 0.3 else {}
        self.options = BeamOptions(
            width=draw.choice((1, 2, 5, 20, 60)),
            tokens=draw.choice((None, None, 2, 3)),
            threshold=draw.choice((3.0, 10.0, 50.0)),
            recombine=draw.choice(("state", "state", "history")),
        )
        unknown = draw.random() < 0.3  # not in lists, where spellings of one history tie
        if self.options.recombine == "history" and not unknown:
            self.options = replace(self.options, nbest=draw.randint(1, self.options.width))
        self.arpa = _written(folder / "lm.arpa", words, draw)
        self.cache = folder / "cache"
        self.frames = [draw.randint(1, 16) for _ in range(4)]
        self.weights = [
            DecodingWeights(
                draw.uniform(0.2, 3),
                draw.uniform(-1, 1),
                draw.uniform(-4, 0) if unknown else -math.inf,
                draw.choice((0.0, draw.gauss(0, 0.3))),
            )
            for _ in self.frames
        ]
        normal = np.random.default_rng(seed).normal
        logits = normal(0, draw.choice((1.0, 2.0)), (4, max(self.frames), len(labels)))
        sums = np.log(np.exp(logits).sum(2, keepdims=True))
        self.emissions = (logits - sums).astype(np.float32)
        self.contexts, self.floor = [ALONE] * 4, -math.inf
        if phrases:
            self._draw_phrases(words)

    def _draw_phrases(self, words: list[str]) -> None:
        """Phrases of few words, so that some begin as others do or lie within them."""
        draw = self.draw
        few = draw.sample(words, min(len(words), draw.randint(1, 4)))
        said = [" ".join(draw.choices(few, k=draw.randint(1, 4))) for _ in range(6)]
        self.hotwords |= {" ".join(few[:2]): 2.0} | {one: draw.uniform(-2, 5) for one in said}
        self.floor = draw.choice((-math.inf, draw.uniform(-2, 0)))  # some lack the model's words
        self.contexts = [
            Context((Entry(tuple(draw.choices(words, k=draw.randint(0, 3)))),), draw.random() < 0.5)
            for _ in self.frames
        ]

    def batched(self) -> list:
        """All utterances at once, each with its own weights."""
        setup = prepare(
            self.vocabulary,
            self.lexicon,
            ArpaFile(self.arpa, self.cache),
            self.hotwords,
            floor=self.floor,
        )
        tensors = self.draw.choice((NgramTensors, FixedNgramTensors))
        model = tensors(read_automaton(self.arpa), setup.words, torch.device("cpu"))
        search = BatchedSearch(setup, model, DecodingWeights(), self.options)
        return search(self.emissions, self.frames, self.weights, self.contexts)

    def compiled(self) -> list:
        """One utterance after the other."""
        search = CompiledSearch.open(
            self.vocabulary,
            DecodingWeights(),
            self.options,
            self.lexicon,
            self.arpa,
            self.cache,
            self.hotwords,
            floor=self.floor,
        )
        return [
            search(emission[None], [frames], weights, [context])[0][: self.options.nbest]
            for emission, frames, weights, context in zip(
                self.emissions, self.frames, self.weights, self.contexts, strict=True
            )
        ]


def _written(path: Path, words: list[str], draw: random.Random) -> Path:
    """A model of order 1 to 3 that lacks the last word."""
    words = words[:-1]
    firsts, lasts = ["<s>", *words], [*words, "</s>"]
    grams = [[(word,) for word in ("<unk>", "<s>", "</s>", *words)]]
    grams.append([pair for pair in itertools.product(firsts, lasts) if draw.random() < 0.4])
    longer = itertools.product(grams[1], lasts)
    grams.append([(*a, b) for a, b in longer if a[-1] != "</s>" and draw.random() < 0.3])
    grams = [some for some in grams[: draw.randint(1, 3)] if some]
    lines = ["\\data\\", *(f"ngram {n}={len(some)}" for n, some in enumerate(grams, 1))]
    for n, some in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in some:
            backoff = f"\t{draw.uniform(-1, 0):.5f}" if n < len(grams) else ""
            lines.append(f"{draw.uniform(-3, 0):.5f}\t{' '.join(gram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


def difference(ours: list, theirs: list) -> str:
    """What differs between two lists of hypotheses; nothing where they are alike."""
    if len(ours) != len(theirs):
        return f"{len(ours)} hypotheses, {len(theirs)} expected"
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        scores = [(x.score, x.acoustic_score, x.lm_score) for x in (a, b)]
        if not np.allclose(*scores, rtol=0, atol=1e-3):
            return f"hypothesis {place} scores {scores[0]}, {scores[1]} expected"
        if any(abs(a.score - c.score) < TIED for c in theirs if c is not b):
            continue  # either may come first
        if 0 < place == len(ours) - 1:
            continue  # one of the same score may be just behind it
        if (a.symbols, a.frames, a.words) != (b.symbols, b.frames, b.words):
            return f"hypothesis {place} is {a.text!r}, {b.text!r} expected, of one score"
    return ""


def differences(seeds: range, phrases: bool = False) -> list[str]:
    """The differences in all utterances of the cases of these seeds."""
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(seed, Path(folder), phrases)
            pairs = zip(case.batched(), case.compiled(), strict=True)
            told = [difference(ours, theirs) for ours, theirs in pairs]
        found += [f"case {seed}, utterance {i}: {what}" for i, what in enumerate(told) if what]
    return found


@pytest.mark.parametrize("block", range(4))
def test_it_finds_what_the_compiled_search_finds(block):
    """Forty cases of four utterances, each with weights of its own, searched at once."""
    assert differences(range(10 * block, 10 * block + 10)) == []


@pytest.mark.parametrize("block", range(2))
def test_so_it_does_over_a_lexicon_in_lists(block, monkeypatch):
    monkeypatch.setattr(trie, "MEMORY", 0)
    assert differences(range(500 + 10 * block, 510 + 10 * block)) == []


@pytest.mark.parametrize("block", range(2))
def test_so_it_does_with_phrases_and_words_before_the_utterances(block):
    assert differences(range(900 + 10 * block, 910 + 10 * block), phrases=True) == []


def main(cases: int, phrases: bool = False) -> None:
    """Print the differences in `cases` cases that the tests leave out."""
    found = differences(range(10**6, 10**6 + cases), phrases)
    print("\n".join(found))
    print(f"{4 * cases} utterances, {len(found)} different")
