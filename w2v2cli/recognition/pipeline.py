"""From recordings to transcripts: read, run the acoustic model, search, in that order and all at once.

A thread reads ahead, this process runs the acoustic model, other processes search. Results come in the order of the
input, one `Outcome` for each recording, whatever happened to it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lm.hypothesis import Hypothesis
from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.audio import Recorded
from w2v2cli.data.batching import batches_by_length
from w2v2cli.errors import UserError
from w2v2cli.recognition.reader import Job, Reader, Recording
from w2v2cli.recognition.segments import Segment, Segmenter, Window
from w2v2cli.recognition.transcript import Transcript, segment_from

if TYPE_CHECKING:
    from w2v2cli.recognition.acoustic_model import AcousticModel
    from w2v2cli.recognition.searching.spec import Searches

BATCHES_AHEAD = 8  # batches' worth of audio that is sorted by length before it runs


@dataclass(frozen=True)
class Outcome:
    """What became of one recording: a transcript, or the sentence that says why there is none."""

    source: Recorded
    transcript: Transcript | None
    error: str | None = None


@dataclass
class Timings:
    """Seconds this process spent, and seconds of audio they were spent on."""

    audio: float = 0.0
    read: float = 0.0
    """Waiting for the reader."""
    forward: float = 0.0
    """In the acoustic model."""
    search: float = 0.0
    """Waiting for searches after everything else was done."""


@dataclass
class _Progress:
    """One recording on its way through: windows whose neighbours are missing, segments being searched."""

    recording: Recording
    segmenter: Segmenter
    joined: int = 0
    """Windows whose frames have been joined."""
    waiting: dict[int, tuple[Window, np.ndarray]] = field(default_factory=dict)
    searches: list[tuple[Segment, Future[list[Hypothesis]]]] = field(default_factory=list)
    complete: bool = False


class Pipeline:
    """The acoustic model and the search, joined. Both are owned and closed by the caller."""

    def __init__(self, model: AcousticModel, pool: Searches, batch_seconds: float = 0) -> None:
        """batch_seconds: padded audio that runs at once; 0 takes the device's figure."""
        self.model, self.pool = model, pool
        self.budget = int((batch_seconds or model.batch_seconds) * SAMPLE_RATE)
        self.timings = Timings()

    @property
    def config(self) -> Wav2Vec2Config:
        """Of the acoustic model."""
        return self.model.network.config

    @property
    def seconds_per_frame(self) -> float:
        """From one frame to the next."""
        return self.config.stride / SAMPLE_RATE

    def transcribe(self, sources: Iterable[Recorded]) -> Iterator[Outcome]:
        """Transcribe recordings, any number of any length, in bounded memory; outcomes in the order of `sources`."""
        waiting: deque[_Progress] = deque()
        lot_samples = self.budget * BATCHES_AHEAD
        with Reader(sources, self.config, ahead=lot_samples) as reader:
            for lot in self._lots(reader, lot_samples):
                self._run([(self._progress(waiting, job.recording), job) for job in lot])
                while (
                    waiting
                    and waiting[0].complete
                    and all(s.done() for _, s in waiting[0].searches)
                ):
                    yield self._outcome(waiting.popleft())
        while waiting:
            began = time.perf_counter()
            outcome = self._outcome(waiting.popleft())
            self.timings.search += time.perf_counter() - began
            yield outcome

    def _progress(self, waiting: deque[_Progress], recording: Recording) -> _Progress:
        """The entry of a recording in the line, a new one at its end if its first window has come just now."""
        if not waiting or waiting[-1].recording is not recording:
            vocabulary = self.pool.vocabulary
            segmenter = Segmenter(
                1 / self.seconds_per_frame, vocabulary.blank, vocabulary.word_boundary
            )
            waiting.append(_Progress(recording, segmenter))
        return waiting[-1]

    def _lots(self, reader: Reader, samples: int) -> Iterator[list[Job]]:
        """Jobs in lots of about `samples`; a lot ends early when the reader has nothing more at hand."""
        lot: list[Job] = []
        while True:
            began = time.perf_counter()
            job = reader.next(wait=not lot)
            self.timings.read += time.perf_counter() - began
            if job is not None:
                lot.append(job)
            elif not lot:
                return
            if job is None or sum(job.samples for job in lot) >= samples:
                yield lot
                lot = []

    def _run(self, lot: list[tuple[_Progress, Job]]) -> None:
        """Run the windows of a lot in batches of similar length; what they complete goes to the search."""
        spoken: list[tuple[_Progress, int, Window]] = []
        for progress, job in lot:
            if job.window is None:
                progress.complete = True
            else:
                spoken.append((progress, job.index, job.window))
        for indices in batches_by_length(
            [len(window.samples) for _, _, window in spoken], self.budget
        ):
            began = time.perf_counter()
            emissions = self.model.log_probs([spoken[i][2].samples for i in indices])
            self.timings.forward += time.perf_counter() - began
            for i, emission in zip(indices, emissions, strict=True):
                progress, index, window = spoken[i]
                progress.waiting[index] = (window, emission[window.keep_from : window.keep_to])
                self._join(progress)

    def _join(self, progress: _Progress) -> None:
        """Join the windows that follow on from those already joined."""
        while progress.joined in progress.waiting:
            window, emission = progress.waiting.pop(progress.joined)
            progress.joined += 1
            for segment in progress.segmenter.add(emission, window.last):
                progress.searches.append((segment, self.pool.submit(segment.emission)))
            progress.complete = window.last

    def _outcome(self, progress: _Progress) -> Outcome:
        """Wait for a recording's searches and put its transcript together."""
        recording = progress.recording
        self.timings.audio += recording.samples / SAMPLE_RATE
        if recording.error is not None:
            return Outcome(recording.source, None, recording.error)
        try:
            found = [(segment, search.result()) for segment, search in progress.searches]
        except UserError as error:
            return Outcome(recording.source, None, str(error))
        frame = self.seconds_per_frame
        segments = tuple(
            segment_from(
                hypotheses,
                start=segment.start * frame,
                frame_seconds=frame,
                frames=len(segment.emission),
            )
            for segment, hypotheses in found
        )
        return Outcome(
            recording.source,
            Transcript(str(recording.source), recording.samples / SAMPLE_RATE, segments),
        )
