"""A thread that reads recordings ahead of the acoustic model, up to a given amount of audio."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from models.config import Wav2Vec2Config
from w2v2cli.data.audio import AudioError, Recorded, stream
from w2v2cli.recognition.segments import Window, windows

CHUNK_SECONDS = 10.0  # audio decoded at a time


@dataclass
class Recording:
    """One input as far as it has been read."""

    source: Recorded
    samples: int = 0
    """Samples read, at 16 kHz."""
    error: str | None = None
    """Why it could not be read; None where it could."""
    cut_short: str | None = None
    """Why it ends early, where it was read only up to there."""


@dataclass(frozen=True)
class Job:
    """The `index`-th window of a recording; None where the recording could not be read further."""

    recording: Recording
    index: int
    window: Window | None

    @property
    def samples(self) -> int:
        """Length of the window; 0 without one."""
        return 0 if self.window is None else len(self.window.samples)


class Reader:
    """An iterator over the windows of all sources; a context manager that ends its thread."""

    def __init__(self, sources: Iterable[Recorded], config: Wav2Vec2Config, ahead: int) -> None:
        """ahead: samples that may be ready before the thread waits."""
        self._sources, self._config, self._ahead = sources, config, ahead
        self._jobs: queue.SimpleQueue[Job | BaseException | None] = queue.SimpleQueue()
        self._ready = 0  # samples in the queue
        self._room = threading.Condition()
        self._stopped = False
        self._finished = False
        self._thread = threading.Thread(target=self._read_all, name="reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._room:
            self._stopped = True
            self._room.notify_all()

    def next(self, wait: bool) -> Job | None:
        """The next window; None after the last one and, without `wait`, when none is ready."""
        if self._finished:
            return None
        try:
            job = self._jobs.get(block=wait)
        except queue.Empty:
            return None
        if job is None or isinstance(job, BaseException):
            self._finished = True
            if job is not None:
                raise job
            return None
        with self._room:
            self._ready -= job.samples
            self._room.notify_all()
        return job

    def _read_all(self) -> None:
        """The thread's work. A fault of the program is raised by `next`, in the other thread."""
        try:
            for source in self._sources:
                for job in self._read(Recording(source)):
                    if not self._put(job):
                        return
            self._jobs.put(None)
        except BaseException as error:
            self._jobs.put(error)

    def _read(self, recording: Recording) -> Iterator[Job]:
        index = 0
        try:
            for window in windows(self._counted(recording), self._config):
                yield Job(recording, index, window)
                index += 1
        except AudioError as error:
            recording.error = str(error)
            yield Job(recording, index, None)

    def _counted(self, recording: Recording) -> Iterator[np.ndarray]:
        def cut_short(sentence: str) -> None:
            recording.cut_short = sentence

        for chunk in stream(recording.source, CHUNK_SECONDS, cut_short):
            recording.samples += len(chunk)
            yield chunk

    def _put(self, job: Job) -> bool:
        """Queue a job once there is room. Returns False when the reader was stopped."""
        with self._room:
            self._room.wait_for(lambda: self._stopped or self._ready < self._ahead)
            self._ready += job.samples
        self._jobs.put(job)
        return not self._stopped
