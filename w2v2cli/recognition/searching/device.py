"""The batched engine in a thread of this process, behind the interface of `Searches`.

The thread takes what has been submitted and searches it together, on the acoustic model's device.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

import numpy as np
import torch

from lm.decoding import DecodingWeights
from lm.search.batched.search import BatchedSearch, SearchStopped
from lm.search.context import ALONE, Context
from w2v2cli.recognition.devices import resolve_device
from w2v2cli.recognition.searching.build import build_batched
from w2v2cli.recognition.searching.gathering import gather
from w2v2cli.recognition.searching.processes import (
    STOPPED,
    Found,
    Parts,
    SearchFailed,
    parts_later,
)
from w2v2cli.recognition.searching.spec import SearchSpec

TOGETHER = {"cpu": 8, "cuda": 64}  # utterances searched at once, where memory holds them
HYPOTHESIS = 24_000  # bytes that a hypothesis of a beam takes: its way over 40 s, its candidates
SHARE = 0.5  # of a GPU's free memory that searches may take
IN_FLIGHT = 4  # batches that may wait before `submit` blocks
_Task = tuple[np.ndarray, DecodingWeights, Context, "Future[Found]"]


class DeviceSearch:
    """A context manager that searches emissions in a thread.

    Entering it returns at once; language model and lexicon are read meanwhile.
    """

    workers = 1

    def __init__(
        self, spec: SearchSpec, warn: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """Prepare a search.

        warn: called with each warning about lexicon and language model.
        Raises UsageError for a device that is not there.
        """
        self.spec, self.warn = spec, warn
        self.vocabulary = spec.vocabulary
        self.device = resolve_device(spec.device)
        self.at_once = utterances_at_once(self.device, spec.options.width)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._room = threading.BoundedSemaphore(IN_FLIGHT * self.at_once)
        self._ready, self._closed = threading.Event(), threading.Event()
        self._failure: str | None = None
        self._search: BatchedSearch | None = None
        self._thread = threading.Thread(target=self._work, name="search", daemon=True)

    def __enter__(self) -> DeviceSearch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop after the frame that is being searched; unfinished searches fail."""
        self._closed.set()
        if self._search is not None:
            self._search.stopped.set()
        self._tasks.put(None)
        self._thread.join()
        if self._search is not None and (sentence := self._search.shortage()) is not None:
            self.warn(sentence)

    def submit(
        self,
        emission: np.ndarray,
        weights: DecodingWeights | None = None,
        context: Context | None = None,
    ) -> Future[Found]:
        """Search a (T, V) float32 emission: see `SearchPool.submit`."""
        future: Future[Found] = Future()
        self._room.acquire()
        future.add_done_callback(lambda _: self._room.release())
        if self._closed.is_set():
            future.set_exception(SearchFailed(STOPPED))
        else:
            frames = np.ascontiguousarray(emission, np.float32)
            self._tasks.put((frames, weights or self.spec.weights, context or ALONE, future))
        return future

    def submit_each(
        self, emission: np.ndarray, weights: Sequence[DecodingWeights]
    ) -> list[Future[Parts]]:
        """Search an emission with each of several weights: see `Searches.submit_each`."""
        return [parts_later(self.submit(emission, each), each) for each in weights]

    def wait_until_ready(self) -> None:
        """Wait until lexicon and language model are read. Raises SearchFailed if they are not."""
        self._ready.wait()
        if self._failure is not None:
            raise SearchFailed(self._failure)

    def words(self) -> Sequence[str] | None:
        """The words that can be found: see `Searches.words`."""
        return None if self._search is None else self._search.setup.words

    def _work(self) -> None:
        """Run the thread: build the search, then answer batches until the end."""
        warnings: list[str] = []
        try:
            self._search = build_batched(self.spec, self.device, warnings.append)
            if self._closed.is_set():
                self._search.stopped.set()
            for sentence in () if self._closed.is_set() else warnings:
                self.warn(sentence)
        except (ValueError, OSError, torch.cuda.OutOfMemoryError) as error:
            self._failure = str(error)
        except Exception as error:  # a fault in the program: shown in full
            traceback.print_exc()
            self._failure = f"The search could not be set up: {type(error).__name__}: {error}"
        self._ready.set()
        while (tasks := gather(self._tasks, self.at_once)) is not None:
            tasks = [task for task in tasks if task[3].set_running_or_notify_cancel()]
            if tasks:
                self._answer(tasks)

    def _answer(self, tasks: Sequence[_Task]) -> None:
        """Search utterances, each with its weights; half after half if memory is short."""
        try:
            if self._failure is not None or self._search is None:
                raise SearchFailed(self._failure or STOPPED)
            emissions, weights, contexts, _ = zip(*tasks, strict=True)
            results = self._search(*_padded(emissions), weights, contexts)
        except torch.cuda.OutOfMemoryError:
            if len(tasks) > 1:
                half = len(tasks) // 2
                self._answer(tasks[:half])
                self._answer(tasks[half:])
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
        except Exception as error:  # a fault in the program: shown in full, and passed on
            traceback.print_exc()
            _fail(tasks, SearchFailed(f"The search broke down: {type(error).__name__}: {error}"))
        else:
            for (*_, future), found in zip(tasks, results, strict=True):
                future.set_result(found)


def utterances_at_once(device: torch.device, beam: int) -> int:
    """How many utterances a batched search with this beam takes together on a device."""
    most = TOGETHER[device.type]
    if device.type == "cpu":
        return most
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(most, int(SHARE * free / (HYPOTHESIS * beam))))


def _fail(tasks: Sequence[_Task], error: SearchFailed) -> None:
    for *_, future in tasks:
        future.set_exception(error)


def _padded(emissions: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """(T, V) each -> (B, longest T, V), and the frames in each.

    Raises ValueError for different numbers of symbols.
    """
    widths = {emission.shape[1] for emission in emissions}
    if len(widths) > 1:
        raise ValueError(f"Emissions of {len(widths)} vocabularies cannot be searched together.")
    batch = np.zeros((len(emissions), max(map(len, emissions)), *widths), np.float32)
    for row, emission in zip(batch, emissions, strict=True):
        row[: len(emission)] = emission
    return batch, [len(emission) for emission in emissions]
