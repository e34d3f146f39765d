"""Searches in processes beside the acoustic model's; `server` says what they share."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import compress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.score_parts import ScoreParts, parts_of
from lm.search.context import Context
from lm.search.greedy import greedy_search
from w2v2cli.errors import UserError
from w2v2cli.processes import Server, usable_cores
from w2v2cli.recognition.searching.build import searched_words
from w2v2cli.recognition.searching.spec import SearchSpec

IN_FLIGHT = 16  # emissions for each worker that may wait before `submit` blocks
STOPPED = "The search was stopped."
LAST_MOMENTS = 10.0  # seconds from a closed connection to the end of its process
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
TRIES = 2  # workers that an emission may kill before it is given up

Found = list[Hypothesis]
Parts = list[ScoreParts]


class _Task(NamedTuple):
    """An emission to search."""

    emission: np.ndarray
    weights: list[DecodingWeights]
    context: Context | None
    futures: list[Future[Any]]
    """One for each of the weights."""
    parts: bool = False
    """Whether they wait for texts and scores alone."""


class SearchFailed(UserError):
    """A search could not be set up, or broke down."""


def how_it_ended(server: subprocess.Popen[bytes], when: str) -> str:
    """A sentence that says how the process that holds lexicon and language model ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(LAST_MOMENTS)
    code = server.returncode
    if code is None:
        return f"The search process closed its connection {when}, and still runs."
    if code >= 0:
        return f"The search process ended {when} with exit code {code}: see the lines above."
    if -code == signal.SIGKILL:
        return (
            f"The search process was killed {when} (signal 9), most often because memory is short: "
            "give it more, or take fewer --workers or a pruned language model."
        )
    if -code in CRASHES:
        return (
            f"The search process crashed {when} (signal {-code}, {signal.strsignal(-code)}): "
            "a fault of w2v2, or a damaged file that it keeps, which `w2v2 cache clear` removes."
        )
    return (
        f"The search process was ended {when} by another program or a person "
        f"(signal {-code}, {signal.strsignal(-code)})."
    )


class SearchPool:
    """A context manager that searches emissions in `workers` processes.

    Entering it returns at once: the server process reads lexicon and language model meanwhile. The
    best path is so cheap that it runs in this process.
    """

    def __init__(
        self,
        spec: SearchSpec,
        workers: int = 0,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Prepare a search.

        workers: processes; 0 takes one for each core.
        warn: called with each warning about lexicon and language model.
        """
        self.spec, self.warn = spec, warn
        self.workers = self.at_once = workers or usable_cores()
        self.vocabulary = spec.vocabulary
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._room = threading.BoundedSemaphore(IN_FLIGHT * self.workers)
        self._pids: set[int] = set()
        self._lock = threading.Lock()  # of the control socket, of `_pids` and of closing
        self._ready = threading.Event()
        self._failure: str | None = None
        self._closed = False

    def __enter__(self) -> SearchPool:
        if self.spec.engine == "greedy":
            return self
        self._server = Server("w2v2cli.recognition.searching.server")
        self._control = self._server.control
        self._messages = Connection(os.dup(self._control.fileno()))
        self._messages.send(self.spec)
        self._threads = [threading.Thread(target=self._await_server, name="search", daemon=True)]
        self._threads += [
            threading.Thread(target=self._feed, name=f"search-{i}", daemon=True)
            for i in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process at once; unfinished searches fail."""
        with self._lock:
            self._closed = True
        if self.spec.engine == "greedy":
            return
        self._server.process.kill()
        self._server.process.wait()
        with self._lock:
            for pid in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for _thread in range(self.workers):
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._messages.close()
        self._server.end()

    def submit(
        self,
        emission: np.ndarray,
        weights: DecodingWeights | None = None,
        context: Context | None = None,
    ) -> Future[Found]:
        """Search a (T, V) float32 emission, which must not change meanwhile.

        weights: for this utterance alone; None takes the spec's. context: see `Searches.submit`.
        Returns a future of its hypotheses, best first; it raises SearchFailed. Blocks while
        `IN_FLIGHT` emissions for each worker are on their way.
        """
        if self.spec.engine == "greedy":
            future: Future[Found] = Future()
            try:
                future.set_result(
                    greedy_search(emission[None], [len(emission)], self.vocabulary)[0]
                )
            except ValueError as error:
                future.set_exception(SearchFailed(str(error)))
            return future
        return self._put(emission, [weights or self.spec.weights], context)[0]

    def submit_each(
        self, emission: np.ndarray, weights: Sequence[DecodingWeights]
    ) -> list[Future[Parts]]:
        """Search an emission with each of several weights: see `Searches.submit_each`."""
        if self.spec.engine == "greedy":
            return [parts_later(self.submit(emission), each) for each in weights]
        return self._put(emission, weights, None, parts=True)

    def _put(
        self,
        emission: np.ndarray,
        weights: Sequence[DecodingWeights],
        context: Context | None,
        parts: bool = False,
    ) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in weights]
        self._room.acquire()
        futures[-1].add_done_callback(lambda _: self._room.release())
        with self._lock:
            if self._closed:
                _fail(futures, SearchFailed(STOPPED))
            else:
                frames = np.ascontiguousarray(emission, np.float32)
                self._tasks.put(_Task(frames, list(weights), context, futures, parts))
        return futures

    def wait_until_ready(self) -> None:
        """Wait until lexicon and language model are read. Raises SearchFailed if they are not."""
        if self.spec.engine != "greedy":
            self._ready.wait()
            if self._failure is not None:
                raise SearchFailed(self._failure)

    def words(self) -> Sequence[str] | None:
        """The words that can be found: see `Searches.words`."""
        return searched_words(self.spec)

    def _await_server(self) -> None:
        """Run a thread: wait until the server is set up, or has failed."""
        try:
            outcome, message = self._messages.recv()
        except (EOFError, OSError):
            early = how_it_ended(self._server.process, "before it had read its files")
            outcome, message = "failed", STOPPED if self._closed else early
        if outcome == "failed":
            self._failure = message
        elif not self._closed:
            self._failure = self._warned(message)
        self._ready.set()

    def _warned(self, sentences: Sequence[str]) -> str | None:
        """Pass warnings on; what the callback raises must not leave others waiting for ever."""
        try:
            for sentence in sentences:
                self.warn(sentence)
        except Exception as error:
            return f"The callback for warnings failed: {type(error).__name__}: {error}"
        return None

    def _feed(self) -> None:
        """Run a thread: keep one worker busy, and replace it if it dies."""
        self._ready.wait()
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            wanted = [future.set_running_or_notify_cancel() for future in task.futures]
            futures = list(compress(task.futures, wanted))
            task = task._replace(weights=list(compress(task.weights, wanted)))
            if not futures:
                continue
            try:
                if self._failure is not None:
                    raise SearchFailed(self._failure)
                for _ in range(TRIES):
                    worker = worker or self._fork()
                    try:
                        found = worker.search(task)
                        break
                    except (EOFError, ConnectionError):
                        dead, worker = worker, None
                        self._bury(dead)
                else:
                    raise SearchFailed(
                        f"A search process was killed {TRIES} times over the same utterance."
                    )
            except BaseException as error:  # whatever it is, it goes to who waits for the result
                _fail(futures, error)
            else:
                for future, one in zip(futures, found, strict=True):
                    future.set_result(one)
        if worker is not None:
            worker.connection.close()

    def _fork(self) -> _Worker:
        """Start a worker. Raises SearchFailed when the server is gone."""
        with self._lock:
            if self._closed:
                raise SearchFailed(STOPPED)
            try:
                self._control.sendall(b"+")
                pid, descriptors, _, _ = socket.recv_fds(self._control, 8, 1)
            except OSError:
                descriptors = []
            if not descriptors:
                raise SearchFailed(how_it_ended(self._server.process, "while it was needed"))
            worker = _Worker(int.from_bytes(pid, "little"), Connection(descriptors[0]))
            self._pids.add(worker.pid)
        return worker

    def _bury(self, worker: _Worker) -> None:
        """Forget a worker that died."""
        worker.connection.close()
        with self._lock:
            self._pids.discard(worker.pid)
            if self._closed:
                raise SearchFailed(STOPPED)


class _Worker:
    """A search process, from its parent's side."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid, self.connection = pid, connection

    def search(self, task: _Task) -> list[Any]:
        """Search one utterance with each of the weights.

        Raises EOFError or ConnectionError when the process is gone, SearchFailed as it answers.
        """
        self.connection.send((*task.emission.shape, task.weights, task.context, task.parts))
        self.connection.send_bytes(task.emission.tobytes())
        outcome, found = self.connection.recv()
        if outcome == "failed":
            raise SearchFailed(found)
        result: list[Any] = found
        return result


def parts_later(found: Future[Found], weights: DecodingWeights) -> Future[Parts]:
    """The parts of what a search finds with these weights, once that is there.

    To cancel it is to cancel the search.
    """
    later: Future[Parts] = Future()
    later.add_done_callback(lambda done: done.cancelled() and found.cancel())

    def pass_on(done: Future[Found]) -> None:
        if not later.set_running_or_notify_cancel():
            return
        if (error := done.exception()) is not None:
            later.set_exception(error)
        else:
            later.set_result([parts_of(one, weights) for one in done.result()])

    found.add_done_callback(pass_on)
    return later


def _fail(futures: Sequence[Future[Any]], error: BaseException) -> None:
    for future in futures:
        future.set_exception(error)
