"""A scheduler's notice: SIGTERM and SIGUSR1 ask a run to save and stop at the end of the update it is in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopNotice:
    """Whether a signal has come, and which."""

    name: str | None = None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name

    def __bool__(self) -> bool:
        return self.name is not None


@contextmanager
def stop_notice() -> Iterator[StopNotice]:
    """Listen for the signals while the context lasts; the handlers before it come back after it."""
    notice = StopNotice()
    before = {number: signal.signal(number, notice._heard) for number in SIGNALS}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
