"""The job of `transcribe --watch`: recordings of folders, each transcribed when it is complete."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from w2v2cli.data.audio import Source, recordings_by_place
from w2v2cli.processes import Ranks
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.transcribing import keeping, written
from w2v2cli.recognition.transcript import ENDS_THERE
from w2v2cli.recognition.writing.formats import Writing
from w2v2cli.recognition.writing.planning import Item, Planning
from w2v2cli.recognition.writing.provenance import Origin

if TYPE_CHECKING:
    from w2v2cli.recognition.pipeline import Pipeline

SETTLED = 2.0  # seconds for which size and time of a file stay the same once it is complete
LOOK = 1.0  # seconds between two looks at the folders


@dataclass
class Watched:
    """What a call has done so far."""

    transcribed: int = 0
    failed: list[str] = field(default_factory=list)
    """A sentence for each recording that could not be transcribed."""


class Arrivals:
    """Finds the recordings of some folders that are complete, each once unless it changes."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self._seen: dict[Source, tuple[Origin, float]] = {}  # as it is, and since when
        self._taken: dict[Source, Origin] = {}

    def complete(self, now: float) -> dict[Source, Path]:
        """Recordings that have not changed for a while, with their paths below the folders.

        now: seconds by any clock that never goes back.
        """
        found: dict[Source, Path] = {}
        for source, place in recordings_by_place(self._folders).items():
            if not source.is_file():  # a folder that is empty still
                continue
            origin = Origin.of(source)
            before, since = self._seen.get(source, (None, now))
            if before != origin:
                self._seen[source] = origin, now
            elif now - since >= SETTLED and self._taken.get(source) != origin:
                self._taken[source] = origin
                found[source] = place
        return found


def watch_folders(
    options: RecognitionOptions,
    folders: Sequence[str],
    how: Writing,
    done: Watched,
    *,
    warn: Callable[[str], None] = lambda sentence: None,
    note: Callable[[str], None] = lambda sentence: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Transcribe the recordings in `folders`, and those that come, until Ctrl-C or SIGTERM.

    how: has an output folder. A recording whose transcripts are there, made of it as it is now, is
    left out; one that cannot be read is tried again when it has changed, and by the next call.
    done: is kept up to date. note: called with a sentence for each recording.

    Raises KeyboardInterrupt at the end, and UserError where a file cannot be written.
    """
    arrivals = Arrivals(folders)
    plan = Planning(folders, Ranks.from_environment(), replace(how, skip_existing=True), note)
    options = keeping(options, how.forms)
    with _terminated_as_interrupted(), open_pipeline(options, warn) as pipeline:
        note(f"Watching {', '.join(folders)}: Ctrl-C ends it.")
        while True:
            wanted, left = plan.todo(arrivals.complete(clock()))
            if left:
                todo = [wanted[place] for place in left]
                _transcribe(pipeline, todo, options, plan, done, note)
            else:
                sleep(LOOK)


def _transcribe(
    pipeline: Pipeline,
    todo: Sequence[Item],
    options: RecognitionOptions,
    plan: Planning,
    done: Watched,
    note: Callable[[str], None],
) -> None:
    """Transcribe some recordings into their files; what is written is recorded, come what may."""
    frame_seconds = pipeline.acoustic.seconds_per_frame
    plan.written.clear()
    with plan.recording():
        outcomes = pipeline.transcribe([item.recorded for item in todo])
        for item, outcome in zip(todo, outcomes, strict=True):
            row = written(outcome, item, plan.how, options, frame_seconds)
            if row.error is not None:
                done.failed.append(row.error)
                note(row.error)
                continue
            done.transcribed += 1
            plan.written.append(item)
            note(f"{item.name}: {', '.join(item.files)}")
            if row.cut_short is not None:
                note(f"Warning: {row.cut_short} {ENDS_THERE}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, by which a system ends its services, for Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
