"""Sound taken from a pipe by a thread, so that Ctrl-C ends the sound and not the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np

from models.config import SAMPLE_RATE

WAITING_SECONDS = 60.0  # sound that may wait for the network before the pipe has to


class Arriving:
    """An iterator over sound, (S,) float32 each, as it comes; `stop` ends it early."""

    def __init__(self, sound: Iterable[np.ndarray]) -> None:
        self._sound = sound
        self._taken: SimpleQueue[np.ndarray | BaseException | None] = SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0  # samples
        self.interrupted = False
        threading.Thread(target=self._take, name="sound", daemon=True).start()

    def stop(self) -> None:
        """Let the sound end with what has arrived."""
        self.interrupted = True
        self._taken.put(None)

    def __iter__(self) -> Iterator[np.ndarray]:
        while (taken := self._taken.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            with self._room:
                self._waiting -= len(taken)
                self._room.notify_all()
            yield taken

    def _take(self) -> None:
        """Run the thread. What goes wrong in it is raised where the sound is wanted."""
        most = WAITING_SECONDS * SAMPLE_RATE
        try:
            for samples in self._sound:
                with self._room:
                    self._room.wait_for(lambda: self._waiting < most)
                    self._waiting += len(samples)
                self._taken.put(samples)
            self._taken.put(None)
        except BaseException as error:
            self._taken.put(error)


@contextmanager
def ended_by_interrupt(arriving: Arriving) -> Iterator[None]:
    """Ctrl-C ends the sound; a second one ends the program as always.

    Only in the main thread; elsewhere nothing changes. Raises KeyboardInterrupt at the end where
    Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        arriving.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arriving.interrupted:
        raise KeyboardInterrupt
