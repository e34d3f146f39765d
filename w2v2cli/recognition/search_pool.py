"""Searches in processes beside the acoustic model's; see `search_server` for what they share."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from queue import SimpleQueue

import numpy as np

from lm.greedy import greedy_search
from lm.hypothesis import Hypothesis
from lm.vocabulary import Vocabulary
from w2v2cli.errors import UserError
from w2v2cli.recognition.search_spec import SearchSpec

IN_FLIGHT = 16  # emissions for each worker that may wait before `submit` does
TRIES = 2  # of an emission whose worker died under it

Found = list[Hypothesis]
_Task = tuple[np.ndarray, "Future[Found]"]


class SearchFailed(UserError):
    """A search that could not be set up, or broke down."""


class SearchPool:
    """A context manager that searches emissions in `workers` processes, the same for one or ten thousand.

    Entering it returns at once: the server process reads lexicon and language model meanwhile. The best path is so
    cheap that it runs in this process.
    """

    def __init__(self, spec: SearchSpec, workers: int = 0, warn: Callable[[str], None] = lambda sentence: None) -> None:
        """workers: 0 takes one for each core. warn: hears what lexicon and language model give reason to say."""
        self.spec, self.warn = spec, warn
        self.workers = workers or usable_cores()
        self.vocabulary = Vocabulary.from_labels(spec.labels)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._room = threading.BoundedSemaphore(IN_FLIGHT * self.workers)
        self._pids: set[int] = set()
        self._lock = threading.Lock()  # of the control socket and of `_pids`
        self._ready = threading.Event()
        self._failure: str | None = None
        self._closed = False

    def __enter__(self) -> SearchPool:
        if self.spec.engine == "greedy":
            return self
        ours, theirs = socket.socketpair()
        # The parent's own path, given by hand: a folder named `models` or `lm` where the user stands is not ours.
        start = f"import sys; sys.path[:] = {sys.path!r}; from w2v2cli.recognition.search_server import main; main({theirs.fileno()})"
        self._server = subprocess.Popen([sys.executable, "-c", start], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._control = ours
        self._messages = Connection(os.dup(ours.fileno()))
        self._messages.send(self.spec)
        self._threads = [threading.Thread(target=self._await_server, name="search", daemon=True)]
        self._threads += [
            threading.Thread(target=self._feed, name=f"search-{i}", daemon=True) for i in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process at once, whatever it is doing."""
        self._closed = True
        if self.spec.engine == "greedy":
            return
        self._server.kill()
        self._server.wait()
        with self._lock:
            for pid in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for _ in range(self.workers):
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._messages.close()
        self._control.close()

    def submit(self, emission: np.ndarray) -> Future[Found]:
        """Search a (T, V) float32 emission; the future holds its hypotheses, best first, or raises SearchFailed.

        Waits while `IN_FLIGHT` emissions for each worker are on their way.
        """
        future: Future[Found] = Future()
        if self.spec.engine == "greedy":
            future.set_result(greedy_search(emission[None], [len(emission)], self.vocabulary)[0])
            return future
        self._room.acquire()
        future.add_done_callback(lambda _: self._room.release())
        self._tasks.put((np.ascontiguousarray(emission, np.float32), future))
        return future

    def wait_until_ready(self) -> None:
        """Return once lexicon and language model are read; SearchFailed says why they cannot be."""
        if self.spec.engine != "greedy":
            self._ready.wait()
            if self._failure is not None:
                raise SearchFailed(self._failure)

    def _await_server(self) -> None:
        """A thread: hear whether the server could set itself up."""
        try:
            outcome, message = self._messages.recv()
        except (EOFError, OSError):
            outcome, message = "failed", "The search process ended before it had read its files: is memory short?"
        if outcome == "failed":
            self._failure = message
        elif not self._closed:
            for sentence in message:
                self.warn(sentence)
        self._ready.set()

    def _feed(self) -> None:
        """A thread: keep one worker busy, and replace it if it dies."""
        self._ready.wait()
        worker: Connection | None = None
        while (task := self._tasks.get()) is not None:
            emission, future = task
            if self._failure is not None:
                future.set_exception(SearchFailed(self._failure))
                continue
            for _ in range(TRIES):
                try:
                    worker = worker or self._fork()
                    worker.send(emission.shape)
                    worker.send_bytes(emission.tobytes())
                    outcome, found = worker.recv()
                    break
                except (EOFError, OSError):
                    worker = None
            else:
                outcome, found = "failed", f"A search process was killed {TRIES} times over the same utterance."
            if outcome == "found":
                future.set_result(found)
            else:
                future.set_exception(SearchFailed(found))

    def _fork(self) -> Connection:
        """A new worker's socket; OSError or EOFError when there is no server any more."""
        with self._lock:
            if self._closed:
                raise EOFError
            self._control.sendall(b"+")
            pid, descriptors, _, _ = socket.recv_fds(self._control, 8, 1)
            if not descriptors:
                raise EOFError
            self._pids.add(int.from_bytes(pid, "little"))
        return Connection(descriptors[0])


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
