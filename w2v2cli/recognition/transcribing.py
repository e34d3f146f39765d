"""Transcribing recordings into files or onto a stream, alone or divided among ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from w2v2cli.data.audio import STDIN, Source, recordings_by_place
from w2v2cli.data.decoding.hearing import Heard, Hearing
from w2v2cli.data.decoding.source import name_of
from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.sharing.merging import SharedRun, WorkPlan, sharing
from w2v2cli.recognition.sharing.ranks import (
    meeting_place,
    options_of,
    seconds_of,
    split_by_length,
    stopping,
    take_cores,
    temporary_folder,
)
from w2v2cli.recognition.sharing.transcribed import TranscribedRow
from w2v2cli.recognition.transcript import (
    ENDS_THERE,
    Format,
    Segment,
    Stream,
    Timestamps,
    Transcript,
    render,
)
from w2v2cli.recognition.writing.output import write_file
from w2v2cli.recognition.writing.provenance import OutputFolder

OnProgress = Callable[[Heard], None]


@dataclass(frozen=True)
class Writing:
    """Where transcripts go and how they are written."""

    form: Format = "txt"
    timestamps: Timestamps = "segment"
    output_dir: Path | None = None
    """Folder that gets a file for each recording; None writes to the stream."""
    skip_existing: bool = False
    """Leave out recordings whose transcript is in `output_dir`, made of them as they are now."""
    names: bool = False
    """Name the recording before its text on the stream, in txt, tsv and vtt."""


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
    options = options_of(_keeping(options, how.form), ranks)
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
        sources = [Path(source) for source, _ in parts.plan.items]
        wanted = sorted(index for share in parts.plan.shares for index in share)
        hearing = Hearing({index: sources[index] for index in wanted}, on_progress)
        found = _transcribed(parts, sources, options, how, warn, hearing)
        with plan.recording(), closing(found) as own:
            if not ranks.first:
                parts.contribute(own)
                return None
            total = len(wanted)
            stream = Stream(how.form, total > 1, how.names)
            for index, row in hearing.over(parts.merged(own)):
                _tell_cut_short(row, note)
                if row.error is not None:
                    failed.append(row.error)
                elif row.text is None:
                    plan.written.append(sources[index])
                if how.output_dir is None and (text := _on(stream, sources[index], row)):
                    write(text)
            if end := stream.end():
                write(end)
    missing = [str(sources[index]) for index in parts.missing]
    return Transcribed(total, failed, missing, parts.shortfall() if missing else "")


def _refuse_shared_stdin(inputs: Sequence[str], ranks: Ranks) -> None:
    if ranks.several and str(STDIN) in inputs:
        raise UsageError(
            f"- is stdin, which {ranks.world} ranks cannot share: "
            "name files, or run without torchrun."
        )


def transcribe_live(
    options: RecognitionOptions,
    inputs: Sequence[str],
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
    sources = list(recordings_by_place(inputs, note))
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


def _keeping(options: RecognitionOptions, form: Format) -> RecognitionOptions:
    """The options of a search that finds what a format writes. Raises UsageError."""
    if form in ("json", "jsonl"):
        return replace(options, beam=replace(options.beam, confidences=True))
    if form != "lattice":
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


def _on(stream: Stream, source: Source, row: TranscribedRow) -> str:
    """What goes onto the stream for a recording."""
    if row.error is not None:
        return stream.failure(name_of(source), row.error)
    return stream.transcript(name_of(source), row.text or "")


class Planning:
    """What a call transcribes; kept in the record of the output folder where there is one."""

    def __init__(
        self, inputs: Sequence[str], ranks: Ranks, how: Writing, note: Callable[[str], None]
    ) -> None:
        self.inputs, self.ranks, self.how, self.note = inputs, ranks, how, note
        self.written: list[Source] = []
        """Recordings whose files were written."""
        self._outputs: OutputFolder | None = None
        self._names: dict[Source, str] = {}

    def made(self) -> WorkPlan:
        """All recordings with the names of their files (None: the stream), divided by length.

        Those that are done already are in no rank's share.
        """
        places = recordings_by_place(self.inputs, self.note)
        sources, left = list(places), list(range(len(places)))
        if self.how.output_dir is not None:
            outputs = self._outputs = OutputFolder(self.how.output_dir, self.how.form)
            names = self._names = outputs.names(places)
            if self.how.skip_existing:
                left = [i for i in left if not outputs.is_done(sources[i], names[sources[i]])]
            claimed = outputs.claim({sources[i]: names[sources[i]] for i in left})
            for line in (outputs.line(), claimed):
                if line is not None:
                    self.note(line)
        shares = [left]
        if self.ranks.several:
            seconds = seconds_of(sources[index] for index in left)
            divided = split_by_length(seconds, self.ranks.world)
            shares = [[left[at] for at in share] for share in divided]
        return WorkPlan([(str(s), self._names.get(s)) for s in sources], shares)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record at the end of the block, however it ends, what was written."""
        try:
            yield
        finally:
            if self._outputs is not None and self.written:
                self._outputs.finish({source: self._names[source] for source in self.written})


def _transcribed(
    parts: SharedRun[TranscribedRow],
    sources: Sequence[Path],
    options: RecognitionOptions,
    how: Writing,
    warn: Callable[[str], None],
    hearing: Hearing,
) -> Generator[tuple[int, TranscribedRow], None, None]:
    """This rank's recordings: written to their files, or with the text for the stream."""
    if not parts.mine:
        return
    names = [name for _, name in parts.plan.items]
    with open_pipeline(options, warn if parts.ranks.first else lambda sentence: None) as pipeline:
        take_cores(parts.ranks)
        hearing.begin()
        mine = [sources[index] for index in parts.mine]
        outcomes = pipeline.transcribe(mine, hearing.among(parts.mine))
        for index, outcome in zip(parts.mine, outcomes, strict=True):
            text = None
            if outcome.transcript is not None:
                text = _text(outcome.transcript, how, options, pipeline.acoustic.seconds_per_frame)
                if how.output_dir is not None:
                    write_file(how.output_dir / names[index], text)
                    text = None
            yield index, TranscribedRow(text, outcome.error, outcome.cut_short)


def _text(
    transcript: Transcript, how: Writing, options: RecognitionOptions, frame_seconds: float
) -> str:
    """The text of the file for a recording. frame_seconds: from one frame to the next."""
    if how.form != "lattice":
        return render(transcript, how.form, how.timestamps)
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
