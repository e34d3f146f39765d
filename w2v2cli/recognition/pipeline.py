"""From recordings to transcripts: read, run the acoustic model, search, all three at once.

A thread reads ahead, this process runs the acoustic model, other processes search. Results come
in the order of the input, one `Outcome` for each recording, whatever happened to it.

Shapes: T frames, V labels.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from lm.hypothesis import Hypothesis
from lm.search.context import resolved, settled
from lm.text.vocabulary import Vocabulary
from models.config import SAMPLE_RATE, Wav2Vec2Config
from w2v2cli.data.audio import Recorded
from w2v2cli.data.batching import batches_by_length
from w2v2cli.errors import UserError
from w2v2cli.recognition.reader import Job, Reader, Recording
from w2v2cli.recognition.searching.chains import Chains
from w2v2cli.recognition.segments import Segment, Segmenter, Window
from w2v2cli.recognition.transcript import Segment as Spoken
from w2v2cli.recognition.transcript import Transcript, segment_from

if TYPE_CHECKING:
    from w2v2cli.recognition.acoustic_model import AcousticModel
    from w2v2cli.recognition.searching.spec import Searches

BATCHES_AHEAD = 8  # batches' worth of audio that is sorted by length before it runs

Found = Future[list[Hypothesis]]
OnHeard = Callable[[int, float], None]
"""Called with the place of a recording and the seconds of it that are done, from its beginning."""
TakenT = TypeVar("TakenT")


@dataclass(frozen=True)
class Outcome:
    """The transcript of one recording, or the sentence that says why there is none."""

    source: Recorded
    transcript: Transcript | None
    error: str | None = None
    cut_short: str | None = None
    """Why the recording ends early, where the transcript is of what is there."""
    seconds: float = 0.0
    """Length of the recording, as far as it could be read."""


@dataclass(frozen=True)
class Emitted:
    """The emissions of one recording, or the sentence that says why they are missing."""

    source: Recorded
    seconds: float
    """Length of the recording, as far as it could be read."""
    segments: list[Segment]
    """Stretches that are searched apart, in order; their frames follow each other without a gap."""
    error: str | None = None
    """Also of a recording that is cut short: its reference would be of more than was heard."""


@dataclass(frozen=True)
class Traced:
    """The emissions of one recording, and what the search found in them."""

    source: Recorded
    segments: list[Segment]
    """Stretches that were searched apart, in order."""
    found: list[list[Hypothesis]]
    """For each of them the hypotheses, best first."""
    error: str | None = None
    """The sentence that says why nothing was found."""


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
class _Searched:
    """The searches of one recording, as far as they are done."""

    place: int
    """The recording's, among all."""
    taken: list[tuple[Segment, Found]] = field(default_factory=list)
    done: int = 0
    """Segments from the first on whose searches are done."""
    given: int = 0
    """Segments given to `on_final`."""


@dataclass
class _Progress(Generic[TakenT]):
    """One recording between the reader and the end of its last segment."""

    recording: Recording
    segmenter: Segmenter
    take: Callable[[Segment], TakenT]
    """Called with each segment."""
    joined: int = 0
    """Windows whose frames have been joined."""
    waiting: dict[int, tuple[Window, np.ndarray]] = field(default_factory=dict)
    """Windows that have run while one before them has not, by index."""
    taken: list[TakenT] = field(default_factory=list)
    """What `take` made of each segment."""
    complete: bool = False


class AcousticStage:
    """Reads recordings and runs the acoustic model on them in batches of similar length."""

    def __init__(
        self, model: AcousticModel, vocabulary: Vocabulary, batch_seconds: float = 0.0
    ) -> None:
        """batch_seconds: seconds of audio, padding included, in a batch; 0 takes the device's."""
        self.model, self.vocabulary = model, vocabulary
        self.budget = int((batch_seconds or model.batch_seconds) * SAMPLE_RATE)
        self.timings = Timings()

    @property
    def config(self) -> Wav2Vec2Config:
        """The architecture of the acoustic model."""
        return self.model.network.config

    @property
    def seconds_per_frame(self) -> float:
        """Time between two frames."""
        return self.config.stride / SAMPLE_RATE

    def end_of(self, segment: Segment) -> float:
        """Seconds from the beginning of a recording to the end of a segment."""
        return (segment.start + len(segment.emission)) * self.seconds_per_frame

    def emissions(
        self, sources: Iterable[Recorded], on_heard: OnHeard = lambda place, seconds: None
    ) -> Iterator[Emitted]:
        """The emissions of recordings, in order, in the segments that a search would get."""
        places = count()

        def begin() -> Callable[[Segment], Segment]:
            place = next(places)

            def take(segment: Segment) -> Segment:
                on_heard(place, self.end_of(segment))
                return segment

            return take

        for recording, segments in self.run(sources, begin):
            self.timings.audio += recording.samples / SAMPLE_RATE
            seconds = recording.samples / SAMPLE_RATE
            error = recording.error or recording.cut_short
            yield Emitted(recording.source, seconds, segments, error)

    def run(
        self,
        sources: Iterable[Recorded],
        begin: Callable[[], Callable[[Segment], TakenT]],
        finished: Callable[[TakenT], bool] = lambda taken: True,
        after_batch: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[Recording, list[TakenT]]]:
        """Each recording with what was made of its segments, in the order of `sources`.

        begin: called for each recording; what it returns is called with each segment, in order, as
        soon as its frames are known, before the recording ends.
        finished: a recording is given out early only when this is true of all its segments; after
        the last recording was read nothing is waited for.
        after_batch: called whenever the model has run.
        """
        line: deque[_Progress[TakenT]] = deque()
        lot_samples = self.budget * BATCHES_AHEAD
        with Reader(sources, self.config, ahead=lot_samples) as reader:
            for lot in self._lots(reader, lot_samples):
                begun = [(self._progress(line, job.recording, begin), job) for job in lot]
                self._run(begun, after_batch)
                while line and line[0].complete and all(map(finished, line[0].taken)):
                    done = line.popleft()
                    yield done.recording, done.taken
        while line:
            done = line.popleft()
            yield done.recording, done.taken

    def _progress(
        self,
        line: deque[_Progress[TakenT]],
        recording: Recording,
        begin: Callable[[], Callable[[Segment], TakenT]],
    ) -> _Progress[TakenT]:
        """The recording's entry in the line; its first window opens a new one at the end."""
        if not line or line[-1].recording is not recording:
            vocabulary = self.vocabulary
            segmenter = Segmenter(
                1 / self.seconds_per_frame, vocabulary.blank, vocabulary.word_boundary
            )
            line.append(_Progress(recording, segmenter, begin()))
        return line[-1]

    def _lots(self, reader: Reader, samples: int) -> Iterator[list[Job]]:
        """Jobs in lots of about `samples`; a lot ends early when no further window is ready."""
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

    def _run(
        self, lot: list[tuple[_Progress[TakenT], Job]], after_batch: Callable[[], None]
    ) -> None:
        """Run the windows of a lot in batches of similar length."""
        spoken: list[tuple[_Progress[TakenT], int, Window]] = []
        for progress, job in lot:
            if job.window is None:
                progress.complete = True
            else:
                spoken.append((progress, job.index, job.window))
        longest = max((len(window.samples) for _, _, window in spoken), default=0)
        # A long recording's windows count alike: its first is shorter, and would come last.
        lengths = [len(w.samples) if w.last else longest for _, _, w in spoken]
        for indices in batches_by_length(lengths, self.budget):
            began = time.perf_counter()
            emissions = self.model.log_probs([spoken[i][2].samples for i in indices])
            self.timings.forward += time.perf_counter() - began
            for i, emission in zip(indices, emissions, strict=True):
                progress, index, window = spoken[i]
                # (T, V) -> (frames kept, V): frames at the edges lack context
                progress.waiting[index] = (window, emission[window.keep_from : window.keep_to])
                self._join(progress)
            after_batch()

    def _join(self, progress: _Progress[TakenT]) -> None:
        """Join the windows that follow on from those already joined."""
        while progress.joined in progress.waiting:
            window, emission = progress.waiting.pop(progress.joined)
            progress.joined += 1
            for segment in progress.segmenter.add(emission, window.last):
                progress.taken.append(progress.take(segment))
            progress.complete = window.last


class Pipeline:
    """The acoustic stage and the search, joined. The caller owns and closes model and search."""

    def __init__(self, model: AcousticModel, pool: Searches, batch_seconds: float = 0.0) -> None:
        """batch_seconds: seconds of audio, padding included, in a batch; 0 takes the device's."""
        self.acoustic = AcousticStage(model, pool.vocabulary, batch_seconds)
        self.pool = pool

    @property
    def timings(self) -> Timings:
        """Where the time went."""
        return self.acoustic.timings

    def emissions(
        self, sources: Iterable[Recorded], on_heard: OnHeard = lambda place, seconds: None
    ) -> Iterator[Emitted]:
        """Emissions without a search: see `AcousticStage.emissions`."""
        return self.acoustic.emissions(sources, on_heard)

    def transcribe(
        self,
        sources: Iterable[Recorded],
        on_heard: OnHeard = lambda place, seconds: None,
        on_final: Callable[[Sequence[Spoken]], None] | None = None,
    ) -> Iterator[Outcome]:
        """Transcribe any number of recordings of any length, in bounded memory, in order.

        on_heard: called whenever more of a recording has been searched, before it ends.
        on_final: called with segments of the transcript, in order, as soon as nothing that comes
        later can change their words. For one recording.
        """
        watched: deque[_Searched] = deque()

        def look() -> None:
            for searched in watched:
                self._look(searched, on_heard, on_final)

        with Chains(self.pool) as chains:
            places = count()

            def begin() -> Callable[[Segment], tuple[Segment, Found]]:
                take, searched = chains.begin(), _Searched(next(places))
                watched.append(searched)

                def taking(segment: Segment) -> tuple[Segment, Found]:
                    searched.taken.append(take(segment))
                    return searched.taken[-1]

                return taking

            for recording, searches in self.acoustic.run(
                sources, begin, lambda taken: taken[1].done(), look
            ):
                began = time.perf_counter()
                for _, search in searches:
                    if not search.done():
                        futures.wait([search])
                        look()
                look()
                outcome = self._outcome(recording, searches)
                self.timings.search += time.perf_counter() - began
                watched.popleft()
                yield outcome

    def _look(
        self,
        searched: _Searched,
        on_heard: OnHeard,
        on_final: Callable[[Sequence[Spoken]], None] | None,
    ) -> None:
        """Tell of searches that are done since the last look."""
        taken, before = searched.taken, searched.done
        while searched.done < len(taken) and taken[searched.done][1].done():
            searched.done += 1
        if searched.done == before:
            return
        done = taken[: searched.done]
        on_heard(searched.place, self.acoustic.end_of(done[-1][0]))
        if on_final is None or any(search.exception() for _, search in done):
            return
        exits = self.pool.spec.exits
        found = [search.result() for _, search in done]
        final = settled(found, exits, done[-1][0].ends or not exits)
        if final > searched.given:
            fresh = slice(searched.given, final)
            on_final(self._segments(done[fresh], resolved(found)[fresh]))
            searched.given = final

    def traced(self, sources: Iterable[Recorded]) -> Iterator[Traced]:
        """As `transcribe`, with the emissions beside what was found: for few recordings."""
        with Chains(self.pool) as chains:
            for recording, searches in self.acoustic.run(
                sources, chains.begin, lambda taken: taken[1].done()
            ):
                segments = [segment for segment, _ in searches]
                if (error := recording.error or recording.cut_short) is not None:
                    yield Traced(recording.source, segments, [], error)
                    continue
                try:
                    found = resolved([search.result() for _, search in searches])
                except UserError as failure:
                    yield Traced(recording.source, segments, [], str(failure))
                    continue
                yield Traced(recording.source, segments, list(found))

    def _outcome(self, recording: Recording, searches: list[tuple[Segment, Found]]) -> Outcome:
        """Wait for a recording's searches and put its transcript together."""
        seconds = recording.samples / SAMPLE_RATE
        self.timings.audio += seconds
        if recording.error is not None:
            return Outcome(recording.source, None, recording.error, seconds=seconds)
        try:
            found = resolved([search.result() for _, search in searches])
        except UserError as error:
            return Outcome(recording.source, None, str(error), seconds=seconds)
        segments = self._segments(searches, found)
        cut_short = recording.cut_short
        transcript = Transcript(str(recording.source), seconds, segments, cut_short)
        return Outcome(recording.source, transcript, None, cut_short, seconds)

    def _segments(
        self, searches: Sequence[tuple[Segment, Found]], found: Sequence[Sequence[Hypothesis]]
    ) -> tuple[Spoken, ...]:
        """The segments of the transcript. found: the hypotheses of each search, as `resolved`."""
        frame = self.acoustic.seconds_per_frame
        return tuple(
            segment_from(
                hypotheses,
                start=segment.start * frame,
                frame_seconds=frame,
                frames=len(segment.emission),
            )
            for (segment, _), hypotheses in zip(searches, found, strict=True)
        )
