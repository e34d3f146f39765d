"""A contender in a process of its own, with the time and memory that it uses. Linux only."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, TypeVar

from benchmarks.usage import cpu_seconds, proportional_mb

T = TypeVar("T")
Run = Callable[[Any], T]


class Turn(NamedTuple, Generic[T]):
    """One call of the contender, and what it cost."""

    result: T
    seconds: float
    """Wall-clock time, measured in the process."""
    cpu_seconds: float
    """Processor time of the process and its children, to a hundredth of a second."""


class Hosted(Generic[T]):
    """A context manager entered in a fresh process, where the function it gives is then called."""

    def __init__(self, opened: AbstractContextManager[Run[T]]) -> None:
        """Start the process and enter `opened`, which must be picklable, in it."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_host, args=(opened, theirs))
        self._process.start()
        theirs.close()
        self.setup_seconds: float = self._connection.recv()
        self.peak_mb = 0.0
        """Highest memory that `proportional_mb` has shown."""

    def turn(self, data: Any, look_every: float = 0.5) -> Turn[T]:
        """Call the function with `data`, and look at the memory every `look_every` seconds."""
        before = cpu_seconds(self._pid)
        self._connection.send(data)
        with self._watched(look_every):
            seconds, result = self._connection.recv()
        return Turn(result, seconds, cpu_seconds(self._pid) - before)

    def close(self) -> None:
        """Leave the context manager, and end the process."""
        self._connection.close()
        self._process.join()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @contextmanager
    def _watched(self, every: float) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(every):
                self.peak_mb = max(self.peak_mb, proportional_mb(self._pid))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.peak_mb = max(self.peak_mb, proportional_mb(self._pid))


def _host(opened: AbstractContextManager[Run[T]], connection: Connection) -> None:
    began = time.perf_counter()
    with opened as run:
        connection.send(time.perf_counter() - began)
        while True:
            try:
                data = connection.recv()
            except EOFError:
                return
            began = time.perf_counter()
            result = run(data)
            connection.send((time.perf_counter() - began, result))
