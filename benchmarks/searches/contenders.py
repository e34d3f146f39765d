"""The searches that `benchmarks.search` compares.

Each is a context manager that is entered in a process of its own and gives a function that
searches emissions.

flashlight-text is called as fairseq's decoder calls it: `load_words`, the trie in the order of
that dictionary, a Python loop. The order is one of hashes. On five utterances (beam 1500,
threshold 50) it costs the peer nothing: 5.8 to 6.0 CPU seconds, 5.8 with the words sorted, 5.7 to
5.8 in our `FlashlightSearch`. In an earlier run on forty utterances, of one repeat, one process
took 2.43 times as long as two workers. Nothing above explains that, so compare CPU seconds as
well as wall-clock seconds.
"""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lm.decoding import FLOOR, BeamOptions, DecodingWeights, Recombine
from lm.hypothesis import Hypothesis
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.searching.server import stderr_closed
from w2v2cli.recognition.searching.spec import Engine, SearchSpec

# Words of each utterance, and their score: NaN where the peer gives none.
Decoded = list[tuple[str, float]]
Search = Callable[[list[np.ndarray]], Decoded]
# The module that a contender needs, by the first part of its name.
NEEDS = {"flashlight": "flashlight", "pyctcdecode": "pyctcdecode"}


@dataclass(frozen=True)
class Task:
    """Files, options and weights, the same for every contender."""

    labels: tuple[str, ...]
    lm: Path
    """An ARPA file."""
    lexicon: Path
    """A lexicon that is not compressed."""
    options: BeamOptions
    weights: DecodingWeights
    workers: int
    cache: Path
    """Folder where engines cache what they compile from the files."""
    device: str = "cpu"
    """Device of the batched search."""
    at_once: int = 64
    """Utterances in a batch of the batched search."""
    hotwords: dict[str, float] = field(default_factory=dict)
    """Words and phrases that our searches favour."""
    floor: float = FLOOR
    """Of those that the language model lacks."""


@dataclass
class Contender(AbstractContextManager[Search]):
    """One search. It is pickled to its process, and entering it there sets it up."""

    name: str
    """One of `CONTENDERS`."""
    task: Task

    def __enter__(self) -> Search:
        self._opened = CONTENDERS[self.name](self.task)
        return self._opened.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)


def missing(name: str, device: str = "cpu") -> str | None:
    """A sentence that tells why a contender cannot take part; None if it can.

    device: of the batched search.
    """
    if name == KERNELS and device == "cpu":
        return f"{name} is left out: kernels run on CUDA (--device cuda)."
    module = NEEDS.get(name.split("-")[0])
    if module is None or importlib.util.find_spec(module) is not None:
        return None
    hint = ": pip install --no-deps pyctcdecode pygtrie" if module == "pyctcdecode" else ""
    return f"{name} is left out: {module} is not installed{hint}."


@contextmanager
def flashlight(task: Task) -> Iterator[Search]:
    """Run flashlight-text in one process, as fairseq's W2lKenLMDecoder does."""
    from flashlight.lib.text import decoder
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import create_word_dict, load_words

    vocabulary = Vocabulary.from_labels(task.labels)
    words = load_words(str(task.lexicon))
    words["<unk>"] = []
    dictionary = create_word_dict(words)
    with stderr_closed():
        lm = KenLM(str(task.lm), dictionary)
    silence = vocabulary.index["|"]
    trie = decoder.Trie(len(task.labels), silence)
    start = lm.start(False)
    for word, spellings in words.items():
        index = dictionary.get_index(word)
        _, score = lm.score(start, index)
        for spelling in spellings:
            trie.insert([vocabulary.index[symbol] for symbol in spelling], index, score)
    trie.smear(decoder.SmearingMode.MAX)
    options = decoder.LexiconDecoderOptions(
        task.options.width,
        task.options.tokens or len(task.labels),
        task.options.threshold,
        task.weights.lm_weight,
        task.weights.word_score,
        task.weights.unk_score,
        task.weights.sil_score,
        False,
        decoder.CriterionType.CTC,
    )
    search = decoder.LexiconDecoder(
        options, trie, lm, silence, vocabulary.blank, dictionary.get_index("<unk>"), [], False
    )

    def run(emissions: list[np.ndarray]) -> Decoded:
        found = []
        for emission in emissions:
            best = search.decode(emission.ctypes.data, *emission.shape)[0]
            words = [dictionary.get_entry(word) for word in best.words if word >= 0]
            found.append((" ".join(words), best.score))
        return found

    yield run


def pyctcdecode(
    beam: int, prune: float = -10.0, least: float = -5.0
) -> Callable[[Task], AbstractContextManager[Search]]:
    """pyctcdecode's `decode_batch` over a pool of processes; its model takes natural logarithms.

    Args:
        beam: hypotheses kept.
        prune: log-probability, relative to the best, below which a hypothesis is dropped.
        least: log-probability below which a symbol is not tried.

    The defaults are its own.
    """

    @contextmanager
    def opened(task: Task) -> Iterator[Search]:
        from pyctcdecode import build_ctcdecoder

        vocabulary = Vocabulary.from_labels(task.labels)
        names = {vocabulary.blank: "", vocabulary.index["|"]: " "}
        shown = [names.get(i, label) for i, label in enumerate(task.labels)]
        # pyctcdecode takes all labels for word pieces unless each is a single character.
        labels = [label if len(label) < 2 else chr(0xE000 + i) for i, label in enumerate(shown)]
        words = list(Lexicon.read(task.lexicon, vocabulary).spellings)
        alpha = task.weights.lm_weight / math.log(10)
        decoder: Any
        with stderr_closed():
            decoder = build_ctcdecoder(
                labels, str(task.lm), words, alpha=alpha, beta=task.weights.word_score
            )
        with multiprocessing.get_context("fork").Pool(task.workers) as pool:
            yield lambda emissions: [
                (text, math.nan)
                for text in decoder.decode_batch(pool, emissions, beam, prune, least)
            ]

    return opened


def pool(engine: Engine) -> Callable[[Task], AbstractContextManager[Search]]:
    """An engine in our pool of processes."""

    @contextmanager
    def opened(task: Task) -> Iterator[Search]:
        spec = SearchSpec(
            task.labels,
            engine,
            task.lm,
            task.lexicon,
            weights=task.weights,
            options=task.options,
            hotwords=task.hotwords,
            hotwords_floor=task.floor,
            cache=task.cache,
        )
        with SearchPool(spec, task.workers) as pool:
            pool.wait_until_ready()
            yield lambda emissions: best(
                [future.result() for future in [pool.submit(e) for e in emissions]]
            )

    return opened


@contextmanager
def compiled_threads(task: Task) -> Iterator[Search]:
    """Run our compiled engine in threads of one process."""
    from lm.search.compiled import CompiledSearch
    from lm.search.flat_lexicon import kept_lexicon
    from storage.hashing import remembered_hash

    vocabulary = Vocabulary.from_labels(task.labels)
    lexicon, _ = kept_lexicon(
        remembered_hash(task.lexicon),
        vocabulary,
        task.cache,
        lambda: Lexicon.read(task.lexicon, vocabulary),
    )
    search: Callable[..., Any] = CompiledSearch.open(
        vocabulary,
        task.weights,
        task.options,
        lexicon,
        task.lm,
        task.cache,
        task.hotwords,
        task.workers,
        floor=task.floor,
    )
    yield lambda emissions: best(search(emissions, [len(emission) for emission in emissions]))


@contextmanager
def batched(task: Task) -> Iterator[Search]:
    """Run our search by tensor operations on batches of `at_once` utterances, longest first."""
    from lm.ngram.arrays import kept_automaton
    from lm.search.batched.search import BatchedSearch
    from lm.search.compiled import ArpaFile
    from lm.search.setup import prepare

    vocabulary = Vocabulary.from_labels(task.labels)
    lexicon = Lexicon.read(task.lexicon, vocabulary)
    search: Callable[..., Any] = BatchedSearch(
        prepare(
            vocabulary,
            lexicon,
            ArpaFile(task.lm, task.cache),
            task.hotwords,
            floor=task.floor,
        ),
        kept_automaton(task.lm, task.cache)[0],
        task.weights,
        task.options,
        device=task.device,
    )

    def run(emissions: list[np.ndarray]) -> Decoded:
        order = sorted(range(len(emissions)), key=lambda i: -len(emissions[i]))
        found: dict[int, Hypothesis] = {}
        for begin in range(0, len(order), task.at_once):
            some = order[begin : begin + task.at_once]
            hypotheses = search([emissions[i] for i in some], [len(emissions[i]) for i in some])
            found |= {i: ranked[0] for i, ranked in zip(some, hypotheses, strict=True)}
        return [(found[i].text, found[i].score) for i in range(len(emissions))]

    yield run


@contextmanager
def with_kernels(task: Task) -> Iterator[Search]:
    """Run the batched search with Triton's kernels; the process has no other contender."""
    os.environ["W2V2_KERNELS"] = "1"
    with batched(task) as run:
        yield run


def best(found: list[list[Hypothesis]]) -> Decoded:
    """Words and score of the first hypothesis of each utterance."""
    return [(ranked[0].text, ranked[0].score) for ranked in found]


def merging(
    recombine: Recombine, search: Callable[[Task], AbstractContextManager[Search]]
) -> Callable[[Task], AbstractContextManager[Search]]:
    """Let a search merge its hypotheses by history or by the language model's state."""
    return lambda task: search(replace(task, options=replace(task.options, recombine=recombine)))


def skipping(
    limit: float, search: Callable[[Task], AbstractContextManager[Search]]
) -> Callable[[Task], AbstractContextManager[Search]]:
    """Let a search take runs of frames whose blank has at least this probability in one step."""
    return lambda task: search(replace(task, options=replace(task.options, skip_blank=limit)))


PEER = "flashlight"
KERNELS = "batched-kernels"
ALONE = ("pyctcdecode-100", "pyctcdecode-500", "pyctcdecode-100-wide")
"""Contenders that prune in their own way, for which the others' beam and threshold mean nothing."""
CONTENDERS: dict[str, Callable[[Task], AbstractContextManager[Search]]] = {
    PEER: flashlight,
    "pyctcdecode-100": pyctcdecode(100),
    "pyctcdecode-500": pyctcdecode(500),
    "pyctcdecode-100-wide": pyctcdecode(100, -20.0, -10.0),
    "flashlight-pool": pool("flashlight"),
    "compiled-pool": pool("compiled"),
    "compiled-threads": compiled_threads,
    "compiled-history": merging("history", compiled_threads),
    "compiled-skip-0.99": skipping(0.99, compiled_threads),
    "compiled-skip-0.999": skipping(0.999, compiled_threads),
    "compiled-skip-0.9999": skipping(0.9999, compiled_threads),
    "batched": batched,
    KERNELS: with_kernels,
    "batched-history": merging("history", batched),
}
TITLES = {
    PEER: "flashlight as fairseq runs it, 1 process",
    "pyctcdecode-100": "pyctcdecode, beam 100, {workers} processes",
    "pyctcdecode-500": "pyctcdecode, beam 500, {workers} processes",
    "pyctcdecode-100-wide": "pyctcdecode, beam 100, pruned at -20 and -10, {workers} processes",
    "flashlight-pool": "w2v2 --search flashlight, {workers} processes",
    "compiled-pool": "w2v2 --search compiled, {workers} processes",
    "compiled-threads": "w2v2's compiled search, {workers} threads",
    "compiled-history": "the same by history",
    "compiled-skip-0.99": "the same, --skip-blank 0.99",
    "compiled-skip-0.999": "the same, --skip-blank 0.999",
    "compiled-skip-0.9999": "the same, --skip-blank 0.9999",
    "batched": "w2v2 --search batched, {device}",
    KERNELS: "the same with Triton's kernels, {device}",
    "batched-history": "w2v2 --search batched by history, {device}",
}
