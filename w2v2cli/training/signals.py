"""A scheduler's notice: SIGTERM and SIGUSR1 ask a run to save and stop after its current update.

So does the death of torchrun: nobody would end ranks that it leaves behind.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from w2v2cli.processes import NOTICES

LAUNCHED = "TORCHELASTIC_RUN_ID"  # torchrun sets it for its ranks
LAUNCHER_GONE = "the end of torchrun"


class StopNotice:
    """Whether a run has been told to stop, and by what."""

    def __init__(self) -> None:
        self._signal: str | None = None
        self._launcher = os.getppid() if os.environ.get(LAUNCHED) else None

    @property
    def name(self) -> str | None:
        """The signal that came, or what else stops the run; None where nothing does."""
        if self._signal is None and self._launcher not in (None, os.getppid()):
            return LAUNCHER_GONE
        return self._signal

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; this is its handler."""
        self._signal = signal.Signals(number).name

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
    before = {number: signal.signal(number, notice.receive) for number in NOTICES}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
