"""`w2v2 transcribe`: recordings in, words out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import fetching, hearing, note, warn
from w2v2cli.commands.transcribe_options import (
    BEAM,
    Channel,
    Forms,
    Inputs,
    LatencySeconds,
    Live,
    MinConfidence,
    Names,
    OutputDir,
    PcmRate,
    SkipExisting,
    Stream,
    Timestamps,
    Watch,
    channels,
    formats,
    refuse_unlike_way,
    refuse_wrong,
    tell_idle_stream,
    tell_notes,
    tell_unwritten,
)
from w2v2cli.console import complain, counted, printable, say
from w2v2cli.errors import UserError
from w2v2cli.recognition.options import LATENCY, DecodingOptions
from w2v2cli.recognition.writing.formats import Layout, Writing
from w2v2cli.recognition.writing.subtitles import SubtitleLimits

if TYPE_CHECKING:
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.transcribing import Transcribed

NAMED = 5  # recordings that a message lists before it only counts


@takes(DecodingOptions, help={"beam": BEAM})
@takes(SubtitleLimits)
def transcribe(
    limits: SubtitleLimits,
    options: DecodingOptions,
    inputs: Inputs,
    form: Forms = "txt",
    output_dir: OutputDir = None,
    timestamps: Timestamps = "segment",
    skip_existing: SkipExisting = False,
    names: Names = False,
    live: Live = False,
    channel: Channel = None,
    min_confidence: MinConfidence = 0.0,
    watch: Watch = False,
    stream: Stream = False,
    latency: LatencySeconds = LATENCY,
    pcm: PcmRate = None,
) -> None:
    """Transcribe recordings: text on stdout, one line for each, in the order given.

    A recording that cannot be read is named at the end, the others are transcribed, and the exit
    code is 1. The default model, demo, learned from three hours of speech and mishears strangers.

    Several processes share the recordings under torchrun.

    Examples:

      w2v2 transcribe talk.mp3

      w2v2 transcribe --live talk.mp3

      w2v2 transcribe FOLDER --format srt,json --output-dir subs --model base-960h --lm 4gram

      cat talk.m4a | w2v2 transcribe -

      arecord -f S16_LE -r 16000 | w2v2 transcribe --stream -

      torchrun --nproc-per-node 2 --no-python w2v2 transcribe FOLDER --output-dir text
    """
    layout = Layout(timestamps, limits, min_confidence)
    how = Writing(formats(form), layout, output_dir, skip_existing, names, channels(channel))
    refuse_wrong(inputs, how)
    refuse_unlike_way(inputs, how, live, stream, watch, latency, pcm)
    from w2v2cli.recognition.resolving import resolve

    with fetching() as on_fetch:
        settings = resolve(options, note=note, on_fetch=on_fetch)
    tell_notes(options, how)
    if not stream:
        tell_unwritten(options, how, settings.engine)
    if stream:
        tell_idle_stream(options, settings.engine, names)
        _transcribe_stream(settings, inputs[0], form, latency, pcm)
    elif watch:
        _watch(settings, inputs, how)
    elif live:
        _transcribe_live(settings, inputs, how)
    else:
        _transcribe_files(settings, inputs, how)


def _transcribe_files(settings: RecognitionOptions, inputs: list[str], how: Writing) -> None:
    """Write transcripts, then name what could not be transcribed."""
    from w2v2cli.recognition.transcribing import transcribe_recordings

    with hearing("Transcribing") as on_progress:
        done = transcribe_recordings(
            settings, inputs, how, write=_write_plain, warn=warn, note=say, on_progress=on_progress
        )
    if done is not None:
        _report(done, how)


def _watch(settings: RecognitionOptions, folders: list[str], how: Writing) -> None:
    """Write transcripts of the recordings that come, until Ctrl-C, which is no failure here."""
    from w2v2cli.recognition.streaming.watching import Watched, watch_folders

    done = Watched()
    try:
        watch_folders(settings, folders, how, done, warn=warn, note=say)
    except KeyboardInterrupt:
        say(f"Stopped: {counted(done.transcribed, 'recording', 'was', 'were')} transcribed.")
    if done.failed:
        failed = counted(len(done.failed), "recording")
        raise UserError(f"{failed} could not be transcribed (see above).")


def _transcribe_live(settings: RecognitionOptions, inputs: list[str], how: Writing) -> None:
    """Write the words of one recording as they are found."""
    from w2v2cli.recognition.transcribing import transcribe_live

    if how.names:
        say("Note: --names has no effect with --live, which takes one recording.")
    if sys.stdout.isatty():  # the text itself shows how far it has come
        transcribe_live(settings, inputs, how.channel, write=_write_plain, warn=warn, note=say)
        return
    with hearing("Transcribing") as on_progress:
        transcribe_live(
            settings,
            inputs,
            how.channel,
            write=_write_plain,
            warn=warn,
            note=say,
            on_progress=on_progress,
        )


def _transcribe_stream(
    settings: RecognitionOptions, source: str, form: str, latency: float, pcm_rate: int | None
) -> None:
    """Write words while they arrive."""
    from w2v2cli.recognition.streaming.job import transcribe_stream
    from w2v2cli.recognition.streaming.listening import Latency
    from w2v2cli.recognition.streaming.showing import Growing, JsonLines, Lines, Showing

    showing: Showing = Lines(_write) if form == "txt" else JsonLines(_write)
    if form == "txt" and sys.stdout.isatty():
        showing = Growing(_write, lambda: shutil.get_terminal_size().columns)
    transcribe_stream(
        settings, Path(source), Latency(latency), showing, pcm_rate=pcm_rate, warn=warn
    )


def _write_plain(text: str) -> None:
    """Write what a network heard: symbols of a stranger's model do not rule the terminal."""
    _write(printable(text))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _report(done: Transcribed, how: Writing) -> None:
    """Name what could not be transcribed; UserError when something could not."""
    if done.left_out:
        few = counted(done.left_out, "segment", "has", "have")
        left = "is" if done.left_out == 1 else "are"
        say(
            f"Note: {few} a confidence below {how.layout.min_confidence:g}, and {left} not in the "
            "manifest."
        )
    if done.failed:
        complain("\n".join(done.failed))
    if done.missing:
        again = "with --output-dir and --skip-existing the rest is kept"
        if how.output_dir is not None:
            again = "--skip-existing does only these"
        raise UserError(
            f"{len(done.missing)} of {done.total} recordings were not transcribed because "
            f"{done.shortfall}; {again}: {_listed(done.missing)}."
        )
    if done.failed:
        raise UserError(
            f"{len(done.failed)} of {done.total} recordings could not be transcribed (see above)."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
