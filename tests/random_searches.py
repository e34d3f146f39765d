"""Random language models, lexicons, weights and emissions, and all that can be found in them."""

import itertools
import math
import random

import numpy as np
from small_words import SMALL

from lm.decoding import BeamOptions, DecodingWeights
from lm.lattice import Lattice
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon

SPELLINGS = {"A": ["A"], "AB": ["AB"], "BEE": ["B"], "BE": ["B", "BA"]}
ALL = 10**6  # a beam and a threshold that drop nothing


def random_arpa(path, draw: random.Random, words=tuple(SPELLINGS)):
    """A model of order 1 to 3 in which many histories lead to one state."""
    order = draw.randint(1, 3)
    firsts, lasts = ["<s>", *words], [*words, "</s>"]
    grams = [[(word,) for word in ("<unk>", "<s>", "</s>", *words)]]
    grams.append([pair for pair in itertools.product(firsts, lasts) if draw.random() < 0.4])
    grams.append(
        [
            (*before, last)
            for before, last in itertools.product(grams[1], lasts)
            if before[-1] != "</s>" and draw.random() < 0.3
        ]
    )
    grams = grams[:order]
    lines = ["\\data\\", *(f"ngram {n}={len(some)}" for n, some in enumerate(grams, 1))]
    for n, some in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        backoff = n < order
        lines += [
            f"{draw.uniform(-3, 0):.4f}\t{' '.join(gram)}"
            + (f"\t{draw.choice((0, draw.uniform(-1, 0))):.4f}" if backoff else "")
            for gram in some
        ]
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


class Case:
    """A random model, lexicon, weights and hot words, and the searches over them."""

    def __init__(self, seed: int, folder):
        draw = self.draw = random.Random(seed)
        self.folder = folder / str(seed)
        self.folder.mkdir()
        self.arpa = random_arpa(self.folder / "lm.arpa", draw) if draw.random() < 0.9 else None
        entries = [(word, text) for word, texts in SPELLINGS.items() for text in texts]
        lines = (f"{word}\t{' '.join(text)} |\n" for word, text in entries)
        (self.folder / "lexicon.txt").write_text("".join(lines))
        self.lexicon = Lexicon.read(self.folder / "lexicon.txt", SMALL)
        self.weights = DecodingWeights(
            draw.uniform(0, 3), draw.uniform(-1, 1), sil_score=draw.choice((0, draw.gauss(0, 0.3)))
        )
        self.hotwords = {"AB": draw.uniform(-1, 2)} if draw.random() < 0.3 else {}
        self.words = [*SPELLINGS, "<unk>"]
        self.model = None
        if self.arpa is not None:
            self.model = CompiledNgramLM(automaton_file(self.arpa, self.folder), self.words)

    def emission(self, frames: int) -> np.ndarray:
        """(T, V) random log-probabilities."""
        logits = np.random.default_rng(self.draw.randrange(10**6)).normal(0, 1.5, (frames, 4))
        return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)

    def compiled(self, recombine, beam=ALL, threshold=float(ALL), nbest=1, weights=None, **more):
        """The compiled search."""
        options = BeamOptions(beam, None, threshold, nbest, recombine, **more)
        weights = weights or self.weights
        return CompiledSearch.open(
            SMALL, weights, options, self.lexicon, self.arpa, self.folder, self.hotwords
        )

    def batched(self, recombine, beam=ALL, threshold=float(ALL), nbest=1):
        """The search by tensors."""
        setup = prepare(SMALL, self.lexicon, hotwords=self.hotwords)
        model = None if self.arpa is None else read_automaton(self.arpa)
        options = BeamOptions(beam, None, threshold, nbest, recombine)
        return BatchedSearch(setup, model, self.weights, options)

    def said(self, words) -> float:
        """log10 p of a sentence."""
        if self.model is None:
            return 0.0
        states, total = self.model.start(), 0.0
        for word in words:
            score, states = self.model.score(states, [self.words.index(word)])
            total += float(score[0])
        return total + float(self.model.finish(states)[0])

    def paths(self, emission) -> dict[tuple[tuple[str, ...], tuple[int, ...]], float]:
        """The score of every sequence of words and of the frames that have passed at their ends."""
        none: tuple[int, ...] = ()
        paths = {("", 1, none): 0.0}  # text, last symbol, ends; a boundary goes on with silence
        for t, frame in enumerate(emission.tolist(), 1):
            longer: dict[tuple[str, int, tuple[int, ...]], float] = {}
            for ((text, last, ends), score), symbol in itertools.product(paths.items(), range(4)):
                new = symbol not in (SMALL.blank, last)
                ended = new and symbol == 1 and text != "" and not text.endswith("|")
                key = (
                    text + SMALL.symbols[symbol] if new else text,
                    symbol,
                    (*ends, t) if ended else ends,
                )
                total = score + frame[symbol] + self.weights.sil_score * (symbol == 1)
                longer[key] = max(total, longer.get(key, -math.inf))
            paths = longer
        words_of: dict[str, list[str]] = {}
        for word, texts in SPELLINGS.items():
            for text in texts:
                words_of.setdefault(text, []).append(word)
        best: dict[tuple[tuple[str, ...], tuple[int, ...]], float] = {}
        for (text, _, ends), score in paths.items():
            written = [part for part in text.split("|") if part]
            if not written or text.endswith("|"):
                for words in itertools.product(*(words_of.get(part, ()) for part in written)):
                    best[words, ends] = max(score, best.get((words, ends), -math.inf))
        return {key: score + self.beside(key[0]) for key, score in best.items()}

    def enumerated(self, emission) -> dict[tuple[str, ...], float]:
        """The score of every sequence of words by its best path."""
        best: dict[tuple[str, ...], float] = {}
        for (words, _), score in self.paths(emission).items():
            best[words] = max(score, best.get(words, -math.inf))
        return best

    def beside(self, words) -> float:
        """What words add to the score of their path."""
        return (
            self.weights.lm_weight * self.said(words)
            + self.weights.word_score * len(words)
            + sum(self.hotwords.get(word, 0.0) for word in words)
        )


def words_of(hypothesis) -> tuple[str, ...]:
    return tuple(word.text for word in hypothesis.words)


def lattice_of(case, emission, recombine="state", **options):
    """The best hypothesis and the lattice of an emission, of all there is unless told otherwise."""
    options = {"lattice": True, "lattice_beam": float(ALL), **options}
    [[best]] = case.compiled(recombine, **options)(emission[None], [len(emission)])
    return best, best.lattice


def paths_of(lattice: Lattice):
    """The arcs of every path."""
    leaving: dict[int, list[int]] = {}
    for arc, start in enumerate(lattice.starts.tolist()):
        leaving.setdefault(start, []).append(arc)

    def further(node, so_far):
        if node == len(lattice.times) - 1:
            yield so_far
        for arc in leaving.get(node, ()):
            yield from further(int(lattice.ends[arc]), [*so_far, arc])

    yield from further(0, [])


def said(lattice: Lattice, path):
    """The words of a path, and the frames that have passed at their ends."""
    arcs = [arc for arc in path if lattice.labels[arc] >= 0]
    return (
        tuple(lattice.words[lattice.labels[arc]] for arc in arcs),
        tuple(int(lattice.times[lattice.ends[arc]]) for arc in arcs),
    )
