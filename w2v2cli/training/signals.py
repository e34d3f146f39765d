"""A scheduler's notice: SIGTERM and SIGUSR1 ask a run to save and stop after its current update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopNotice:
    """Whether a signal has come, and which."""

    name: str | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; this is its handler."""
        self.name = signal.Signals(number).name

    def __bool__(self) -> bool:
        return self.name is not None


@contextmanager
def stop_notice() -> Iterator[StopNotice]:
    """Handle the signals inside the block, and give them back to their former handlers after it.

    Only the main thread of a program can handle signals: in another one no notice ever comes.
    """
    notice = StopNotice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = {number: signal.signal(number, notice.receive) for number in SIGNALS}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
