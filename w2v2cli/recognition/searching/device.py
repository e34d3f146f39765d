"""Searches by tensors in this process: the batched engine behind the interface of `search_pool`.

A thread gathers what has been submitted and searches it together, on the device of the acoustic model.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch

from lm.decoding import DecodingWeights
from lm.ngram.arpa import read_unigrams
from lm.ngram.arrays import kept_automaton
from lm.search.batched.search import BatchedSearch, SearchStopped
from lm.search.hotwords import with_hotwords
from lm.search.lexicon_checks import case_probes, check_spelling, check_words
from lm.text.lexicon import Lexicon
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.recognition.searching.processes import STOPPED, Found, SearchFailed
from w2v2cli.recognition.searching.spec import SearchSpec

TOGETHER = {"cpu": 8, "cuda": 64}  # utterances searched at once
IN_FLIGHT = 4  # times as many may wait before `submit` does
UNK = "<unk>"
PATIENCE = 0.02  # seconds for which a search that is not full waits for another utterance
_Task = tuple[np.ndarray, DecodingWeights, "Future[Found]"]


class DeviceSearch:
    """A context manager that searches emissions in a thread; entering it returns at once, while language model and lexicon
    are read."""

    workers = 1

    def __init__(
        self, spec: SearchSpec, warn: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """warn: hears what lexicon and language model give reason to say. UsageError for a device that is not there."""
        self.spec, self.warn = spec, warn
        self.vocabulary = spec.vocabulary
        self.device = resolve_device(spec.device)
        self.together = TOGETHER[self.device.type]
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._room = threading.BoundedSemaphore(IN_FLIGHT * self.together)
        self._ready, self._closed = threading.Event(), threading.Event()
        self._failure: str | None = None
        self._search: BatchedSearch | None = None
        self._thread = threading.Thread(target=self._work, name="search", daemon=True)

    def __enter__(self) -> DeviceSearch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End after the frame that is being searched; searches that are not done fail."""
        self._closed.set()
        if self._search is not None:
            self._search.stopped.set()
        self._tasks.put(None)
        self._thread.join()

    def submit(self, emission: np.ndarray, weights: DecodingWeights | None = None) -> Future[Found]:
        """Search a (T, V) float32 emission: see `SearchPool.submit`."""
        future: Future[Found] = Future()
        self._room.acquire()
        future.add_done_callback(lambda _: self._room.release())
        if self._closed.is_set():
            future.set_exception(SearchFailed(STOPPED))
        else:
            self._tasks.put(
                (np.ascontiguousarray(emission, np.float32), weights or self.spec.weights, future)
            )
        return future

    def wait_until_ready(self) -> None:
        """Return once lexicon and language model are read; SearchFailed says why they cannot be."""
        self._ready.wait()
        if self._failure is not None:
            raise SearchFailed(self._failure)

    def _work(self) -> None:
        """The thread."""
        try:
            self._search, warnings = build_batched_search(self.spec, self.device)
            if self._closed.is_set():
                self._search.stopped.set()
            for sentence in () if self._closed.is_set() else warnings:
                self.warn(sentence)
        except (ValueError, OSError, torch.cuda.OutOfMemoryError) as error:
            self._failure = str(error)
        except Exception as error:  # a fault of ours: shown in full
            traceback.print_exc()
            self._failure = f"The search could not be set up: {type(error).__name__}: {error}"
        self._ready.set()
        while (tasks := self._gather()) is not None:
            for weights in dict.fromkeys(task[1] for task in tasks):
                self._answer([task for task in tasks if task[1] == weights], weights)

    def _gather(self) -> list[_Task] | None:
        """Utterances to search together, at least one; None when it is time to end."""
        first = self._tasks.get()
        if first is None:
            return None
        tasks = [first]
        while len(tasks) < self.together:
            try:
                task = self._tasks.get(timeout=PATIENCE)
            except Empty:
                break
            if task is None:
                self._tasks.put(None)
                break
            tasks.append(task)
        return [task for task in tasks if task[2].set_running_or_notify_cancel()]

    def _answer(self, tasks: Sequence[_Task], weights: DecodingWeights) -> None:
        """Search utterances of the same weights; where the GPU is too small for all, half of them after the other."""
        try:
            if self._failure is not None or self._search is None:
                raise SearchFailed(self._failure or STOPPED)
            results = self._search(*_padded([emission for emission, _, _ in tasks]), weights)
        except torch.cuda.OutOfMemoryError:
            if len(tasks) > 1:
                half = len(tasks) // 2
                self._answer(tasks[:half], weights)
                self._answer(tasks[half:], weights)
            else:
                _fail(
                    tasks,
                    SearchFailed(
                        "The GPU has too little memory for this search: try a smaller --beam."
                    ),
                )
        except SearchStopped:
            _fail(tasks, SearchFailed(STOPPED))
        except ValueError as error:
            _fail(tasks, SearchFailed(str(error)))
        except Exception as error:  # a fault of ours: shown in full, and whoever waits hears of it
            traceback.print_exc()
            _fail(tasks, SearchFailed(f"The search broke down: {type(error).__name__}: {error}"))
        else:
            for (_, _, future), found in zip(tasks, results, strict=True):
                future.set_result(found)


def _fail(tasks: Sequence[_Task], error: SearchFailed) -> None:
    for _, _, future in tasks:
        future.set_exception(error)


def _padded(emissions: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """(T, V) each -> (B, longest T, V), and the frames in each. ValueError where they differ in their symbols."""
    widths = {emission.shape[1] for emission in emissions}
    if len(widths) > 1:
        raise ValueError(f"Emissions of {len(widths)} vocabularies cannot be searched together.")
    batch = np.zeros((len(emissions), max(map(len, emissions)), *widths), np.float32)
    for row, emission in zip(batch, emissions, strict=True):
        row[: len(emission)] = emission
    return batch, [len(emission) for emission in emissions]


def build_batched_search(spec: SearchSpec, device: torch.device) -> tuple[BatchedSearch, list[str]]:
    """A search as `spec` describes it, and what its files gave reason to say; ValueError or OSError when it cannot be."""
    vocabulary, warnings = spec.vocabulary, list[str]()
    words, knows, model = _language_model(spec, device, warnings.append)
    lexicon = (
        Lexicon.from_words(words, vocabulary)
        if spec.lexicon is None
        else Lexicon.read(spec.lexicon, vocabulary)
    )
    warnings += check_spelling(lexicon, vocabulary)
    if spec.lm is not None:
        spelled = list(lexicon.spellings)
        seen = [probe for probe in case_probes(spelled) if knows(probe)]
        warnings += check_words(spec.lm, spelled, [knows(word) for word in spelled], seen)
    lexicon, told = with_hotwords(lexicon, spec.hotwords, vocabulary)
    search = BatchedSearch(
        vocabulary,
        lexicon,
        model([*lexicon.spellings, UNK]),
        spec.weights,
        spec.options,
        device,
        hotwords=spec.hotwords,
    )
    return search, warnings + told


def _language_model(
    spec: SearchSpec, device: torch.device, tell: Callable[[str], None]
) -> tuple[Sequence[str], Callable[[str], bool], Callable[[list[str]], Any]]:
    """The words of the language model of `spec`, whether it knows one, and the model for words that indices stand for."""
    if spec.lm is None:
        return (), lambda word: False, lambda words: None
    if not spec.transformer:
        assert spec.cache is not None
        automaton, told = kept_automaton(spec.lm, spec.cache)
        for sentence in told:
            tell(sentence)
        words = read_unigrams(spec.lm) if spec.lexicon is None else ()
        return words, automaton.vocabulary.__contains__, lambda words: automaton
    from lm.transformer.checkpoint import build_transformer
    from lm.transformer.fairseq import read_transformer
    from lm.transformer.model import TransformerLM

    checkpoint = read_transformer(spec.lm, warn=tell)
    network, dictionary = build_transformer(checkpoint).to(device), checkpoint.dictionary
    return (
        dictionary.words,
        dictionary.index.__contains__,
        lambda words: TransformerLM(network, dictionary, words, spec.lm_cache_gb),
    )
