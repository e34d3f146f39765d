"""A contender in a process of its own, and what that process and its children use. Linux only: it reads /proc."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

TICKS = os.sysconf("SC_CLK_TCK")
T = TypeVar("T")
Run = Callable[[Any], T]


class Turn(NamedTuple, Generic[T]):
    """One call."""

    result: T
    seconds: float
    """Wall clock, as the process itself sees it."""
    cpu_seconds: float
    """Of the process and its children, to a hundredth."""


class Hosted(Generic[T]):
    """`opened` in a fresh process, entered there; what it gives is called with the data of each turn."""

    def __init__(self, opened: AbstractContextManager[Run[T]]) -> None:
        """opened: to be pickled, and entered in the process."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_host, args=(opened, theirs))
        self._process.start()
        theirs.close()
        self.setup_seconds: float = self._connection.recv()
        self.peak_mb = 0.0
        """Memory at its peak, as `proportional_mb` counts it, seen by looking often in first turns and seldom in later ones."""

    def turn(self, data: Any, look_every: float = 0.5) -> Turn[T]:
        """Call it there; look_every: seconds between two looks at its memory."""
        before = cpu_seconds(self._pid)
        self._connection.send(data)
        with self._watched(look_every):
            seconds, result = self._connection.recv()
        return Turn(result, seconds, cpu_seconds(self._pid) - before)

    def close(self) -> None:
        """Leave it, and end the process."""
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


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(path)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process and its descendants that live, in and out of the kernel."""
    rows = (_stat(Path(f"/proc/{member}/stat")) for member in family(pid))
    return sum(int(fields[11]) + int(fields[12]) for fields in rows if fields) / TICKS


def proportional_mb(pid: int) -> float:
    """Memory of a process and its descendants, in 10^6 bytes; what they share counts once (PSS)."""
    kilobytes = 0
    for member in family(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def _stat(path: Path) -> list[str]:
    """The fields after a process's name, its state first; none when it has ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
