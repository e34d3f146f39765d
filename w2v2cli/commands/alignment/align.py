"""`w2v2 align`: when each word of a text is spoken."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import fetching, note, warn
from w2v2cli.errors import UsageError, refuse_overwriting
from w2v2cli.progress import AUDIO, progress
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.writing.subtitles import SubtitleLimits

if TYPE_CHECKING:
    from w2v2cli.recognition.aligning.formats import AlignmentFormat

USED = ("model", "language", "device", "precision", "batch_seconds")  # there is no search
UNUSED = [field.name for field in fields(DecodingOptions) if field.name not in USED]
STDIN = "-"
Recording = Annotated[
    str, typer.Argument(metavar="AUDIO", help="A recording of any length, or - for stdin.")
]
Text = Annotated[
    str,
    typer.Argument(
        metavar="TEXT",
        help="A file with what is said in it, or - for stdin. Its lines become the segments of "
        "json and the subtitles of srt and vtt.",
    ),
]
Form = Annotated[
    Literal["json", "ctm", "textgrid", "srt", "vtt"] | None,
    typer.Option(
        "--format",
        help="json: words and symbols. ctm: a line for each word. textgrid: Praat's, with a tier "
        "of words and one of symbols. srt, vtt: subtitles. Default: that of --output's suffix, "
        "else ctm.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File that gets the result; default: stdout."),
]
Unit = Annotated[
    Literal["word", "symbol"],
    typer.Option(help="What ctm, srt and vtt list; json and textgrid have both."),
]


@takes(DecodingOptions, without=UNUSED)
@takes(SubtitleLimits)
def align(
    limits: SubtitleLimits,
    options: DecodingOptions,
    recording: Recording,
    text: Text,
    form: Form = None,
    output: Output = None,
    unit: Unit = "word",
) -> None:
    """Find when each word of a text is spoken: forced alignment, for hours of sound.

    Words are written as the text has them; the model's own normaliser spells them, numbers in
    words. Letters that the model does not have are told, and left out. The path is the best of all,
    not one of a beam.

    Examples:

      w2v2 align chapter.mp3 chapter.txt -o chapter.srt

      w2v2 align talk.wav talk.txt --format textgrid --model base-960h > talk.TextGrid
    """
    refuse_overwriting("--output", output, [Path(recording), Path(text)])
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output} is a folder: name a file.")
    chosen = _format(form, output)
    words = _read(text, recording)
    _tell_idle(chosen, unit, limits)
    from w2v2cli.recognition.aligning.formats import rendered
    from w2v2cli.recognition.aligning.job import align_recording
    from w2v2cli.recognition.resolving import resolve
    from w2v2cli.recognition.writing.output import write_file

    with fetching() as on_fetch:
        settings = resolve(options, note=note, on_fetch=on_fetch)
    with progress("Hearing", AUDIO) as advance:
        found = align_recording(
            settings,
            Path(recording),
            words,
            warn=warn,
            on_progress=advance,
            on_laid=partial(advance, label="Aligning"),
        )
    result = rendered(found, chosen, unit, limits)
    if output is None:
        sys.stdout.write(result)
    else:
        write_file(output, result)


def _format(form: AlignmentFormat | None, output: Path | None) -> AlignmentFormat:
    """The format asked for, else that of the file's suffix."""
    formats: tuple[AlignmentFormat, ...] = ("json", "ctm", "textgrid", "srt", "vtt")
    if form is not None:
        return form
    if output is None:
        return "ctm"
    for known in formats:
        if output.suffix.lower() == f".{known}":
            return known
    raise UsageError(
        f"--output {output} has no suffix of a format: end it in .json, .ctm, .TextGrid, .srt or "
        ".vtt, or give --format."
    )


def _tell_idle(form: AlignmentFormat, unit: str, limits: SubtitleLimits) -> None:
    """Tell of options that change nothing in a format."""
    if unit == "symbol" and form in ("json", "textgrid"):
        note(f"Note: --unit has no effect in {form}, which has words and symbols.")
    if limits.given and form not in ("srt", "vtt"):
        has, they_are = ("have", "they are") if limits.given[1:] else ("has", "it is")
        flags = ", ".join(limits.given)
        note(f"Note: {flags} {has} no effect in {form}: {they_are} for srt and vtt.")


def _read(text: str, recording: str) -> str:
    """The text of a file, or of stdin."""
    if text == STDIN and recording == STDIN:
        raise UsageError("Stdin holds the recording or the text, not both: name a file for one.")
    from w2v2cli.recognition.aligning.spelling import decoded, read_text

    if text == STDIN:
        return decoded(sys.stdin.buffer.read(), "stdin")
    return read_text(Path(text))
