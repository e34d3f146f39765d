"""Transcribing recordings into files or onto a stream, alone or divided among ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from w2v2cli.data.audio import STDIN, recordings_by_place
from w2v2cli.data.decoding.hearing import AudioProgress, Hearing
from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.sharing.merging import SharedRun, sharing
from w2v2cli.recognition.sharing.ranks import (
    meeting_place,
    options_of,
    stopping,
    take_cores,
    temporary_folder,
)
from w2v2cli.recognition.sharing.transcribed import TranscribedRow
from w2v2cli.recognition.transcript import ENDS_THERE, Segment, Transcript
from w2v2cli.recognition.writing.formats import (
    Channels,
    Format,
    Layout,
    Stream,
    Writing,
    render,
    sure_segments,
)
from w2v2cli.recognition.writing.output import write_file
from w2v2cli.recognition.writing.planning import Item, Planning, by_channel, items

if TYPE_CHECKING:
    from w2v2cli.recognition.pipeline import Outcome

OnProgress = Callable[[AudioProgress], None]


@dataclass(frozen=True)
class Transcribed:
    """What a call did."""

    total: int
    """Recordings that were to be transcribed."""
    failed: list[str]
    """A sentence for each recording that could not be read or searched."""
    missing: list[str]
    """Recordings that no rank transcribed because their rank ended early."""
    shortfall: str = ""
    """Why some are missing, as the end of a sentence."""
    left_out: int = 0
    """Segments that are not in the manifest, as less sure than was asked for."""


def transcribe_recordings(
    options: RecognitionOptions,
    inputs: Sequence[str],
    how: Writing,
    *,
    write: Callable[[str], None],
    warn: Callable[[str], None] = lambda sentence: None,
    note: Callable[[str], None] = lambda sentence: None,
    on_progress: OnProgress = lambda heard: None,
) -> Transcribed | None:
    """Transcribe files, folders, patterns or stdin (`-`), in the order given.

    write: called with the text of each recording when there is no output folder.
    warn: called with a sentence about the lexicon or the language model.
    note: called with a sentence that counts the files passed over in a folder, or tells of a
    recording that is cut short.
    on_progress: called with how far the job has come, also inside a recording.

    Under torchrun the ranks divide the recordings; the first one writes to the stream and returns
    the result, the others return None. Raises UsageError and UserError.
    """
    ranks = Ranks.from_environment()
    _refuse_shared_stdin(inputs, ranks)
    options = options_of(keeping(options, how.forms), ranks)
    failed: list[str] = []
    plan = Planning(inputs, ranks, how, note)
    with (
        stopping(ranks) as stop,
        sharing(
            ranks,
            _meeting_folder(ranks, how),
            plan.made,
            stop,
            TranscribedRow,
        ) as parts,
    ):
        wanted, left_out = items(parts.plan), 0
        planned = sorted(index for share in parts.plan.shares for index in share)
        hearing = Hearing({index: wanted[index].recorded for index in planned}, on_progress)
        found = _transcribed(parts, wanted, options, how, warn, hearing)
        with plan.recording(), closing(found) as own:
            if not ranks.first:
                parts.contribute(own)
                return None
            total = len(planned)
            stream = Stream(how.forms[0], total > 1, how.names)
            for index, row in hearing.over(parts.merged(own)):
                _tell_cut_short(row, note)
                if row.error is not None:
                    failed.append(row.error)
                elif row.text is None:
                    plan.written.append(wanted[index])
                left_out += row.left_out
                if how.output_dir is None and (text := _on(stream, wanted[index], row)):
                    write(text)
            if end := stream.end():
                write(end)
    missing = [wanted[index].name for index in parts.missing]
    return Transcribed(total, failed, missing, parts.shortfall() if missing else "", left_out)


def _refuse_shared_stdin(inputs: Sequence[str], ranks: Ranks) -> None:
    if ranks.several and str(STDIN) in inputs:
        raise UsageError(
            f"- is stdin, which {ranks.world} ranks cannot share: "
            "name files, or run without torchrun."
        )


def transcribe_live(
    options: RecognitionOptions,
    inputs: Sequence[str],
    channel: Channels = None,
    *,
    write: Callable[[str], None],
    warn: Callable[[str], None] = lambda sentence: None,
    note: Callable[[str], None] = lambda sentence: None,
    on_progress: OnProgress = lambda heard: None,
) -> None:
    """Transcribe one recording onto one line, each word as soon as nothing can change it.

    What is written is what `transcribe_recordings` writes as txt. The rest: see there. Raises
    UsageError for more than one recording, UserError for one that cannot be transcribed.
    """
    if Ranks.from_environment().several:
        raise UsageError("--live writes one recording as it comes: run without torchrun.")
    sources = list(by_channel(recordings_by_place(inputs, note), channel))
    if len(sources) != 1:
        raise UsageError(f"--live takes one recording, and this call names {len(sources)}.")
    said = False

    def add(segments: Sequence[Segment]) -> None:
        nonlocal said
        for text in (segment.text for segment in segments if segment.words):
            write(f" {text}" if said else text)
            said = True

    hearing = Hearing({0: sources[0]}, on_progress)
    with open_pipeline(options, warn) as pipeline:
        hearing.begin()
        outcomes = pipeline.transcribe(sources, hearing.hears, add)
        [(_, outcome)] = hearing.over(zip([0], outcomes, strict=True))
    if said or outcome.error is None:
        write("\n")
    if outcome.error is not None:
        raise UserError(outcome.error)
    if outcome.cut_short is not None:
        note(f"Warning: {outcome.cut_short} {ENDS_THERE}")


def _tell_cut_short(row: TranscribedRow, note: Callable[[str], None]) -> None:
    if row.cut_short is not None:
        note(f"Warning: {row.cut_short} {ENDS_THERE}")


def keeping(options: RecognitionOptions, forms: Sequence[Format]) -> RecognitionOptions:
    """The options of a search that finds what some formats write. Raises UsageError."""
    if {"json", "jsonl", "html", "manifest"}.intersection(forms):
        options = replace(options, beam=replace(options.beam, confidences=True))
    if "lattice" not in forms:
        return options
    options = replace(options, beam=replace(options.beam, lattice=True))
    if options.engine != "compiled":
        raise UsageError(
            "--format lattice needs --search compiled, which keeps the ways that lost, and this "
            f"call takes --search {options.engine}."
        )
    if options.rescore is not None and options.rescore.over != "lattice":
        raise UsageError(
            "--format lattice writes all that was kept, and --rescore scores a list: leave it out, "
            "or give --rescore-over lattice."
        )
    return options


def _meeting_folder(ranks: Ranks, how: Writing) -> Path | None:
    """The folder through which ranks exchange results; None for a process alone."""
    if not ranks.several:
        return None
    if how.output_dir is None:
        return temporary_folder(ranks)
    return how.output_dir / f".ranks-{meeting_place(ranks)}"


def _on(stream: Stream, item: Item, row: TranscribedRow) -> str:
    """What goes onto the stream for a recording."""
    if row.error is not None:
        return stream.failure(item.name, row.error)
    return stream.transcript(item.name, row.text or "")


def _transcribed(
    parts: SharedRun[TranscribedRow],
    wanted: Sequence[Item],
    options: RecognitionOptions,
    how: Writing,
    warn: Callable[[str], None],
    hearing: Hearing,
) -> Generator[tuple[int, TranscribedRow], None, None]:
    """This rank's recordings: written to their files, or with the text for the stream."""
    if not parts.mine:
        return
    with open_pipeline(options, warn if parts.ranks.first else lambda sentence: None) as pipeline:
        take_cores(parts.ranks)
        hearing.begin()
        mine = [wanted[index].recorded for index in parts.mine]
        outcomes = pipeline.transcribe(mine, hearing.among(parts.mine))
        frame_seconds = pipeline.acoustic.seconds_per_frame
        for index, outcome in zip(parts.mine, outcomes, strict=True):
            yield index, written(outcome, wanted[index], how, options, frame_seconds)


def written(
    outcome: Outcome, item: Item, how: Writing, options: RecognitionOptions, frame_seconds: float
) -> TranscribedRow:
    """What became of a recording, once its files are written; with the text for the stream.

    frame_seconds: from one frame to the next.
    """
    if outcome.transcript is None:
        return TranscribedRow(error=outcome.error, cut_short=outcome.cut_short)
    transcript, left_out, text = outcome.transcript, 0, None
    if "manifest" in how.forms:
        spoken = sum(bool(segment.words) for segment in transcript.segments)
        left_out = spoken - len(sure_segments(transcript, how.layout.min_confidence))
    if how.output_dir is None:
        text = _text(transcript, how.forms[0], how.layout, options, frame_seconds, item, Path())
    else:
        for form, file in zip(how.forms, item.files, strict=True):
            path = how.output_dir / file
            told = (transcript, form, how.layout, options, frame_seconds, item, path.parent)
            write_file(path, _text(*told))
    return TranscribedRow(text, None, outcome.cut_short, left_out)


def _text(
    transcript: Transcript,
    form: Format,
    layout: Layout,
    options: RecognitionOptions,
    frame_seconds: float,
    item: Item,
    folder: Path,
) -> str:
    """The text of a file for a recording. folder: where the file will be."""
    if form == "html":
        from w2v2cli.recognition.pages.transcript import played, transcript_page

        return transcript_page(transcript, played(item.recorded, transcript.seconds, folder))
    if form != "lattice":
        return render(transcript, form, layout)
    from lm.slf import Placed, slf_text

    parts = [Placed(s.lattice, s.start) for s in transcript.segments if s.lattice is not None]
    last = options if options.rescore is None else options.rescore
    base = math.e if last.lm.kind == "transformer" else 10.0
    return slf_text(
        transcript.recording,
        parts,
        last.weights,
        frame_seconds,
        options.beam.posterior_scale,
        base,
    )
