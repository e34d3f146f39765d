"""The options of `w2v2 transcribe` beside those of the search, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.reporting import note
from w2v2cli.errors import UsageError
from w2v2cli.help import refusal
from w2v2cli.processes import Ranks
from w2v2cli.recognition.options import (
    LATENCY,
    DecodingOptions,
    without_effect_streamed,
    without_effect_written,
)
from w2v2cli.recognition.writing.formats import FORMATS, Channels, Format, Writing

STDIN = "-"
DEMO = (
    "Note: --model demo is small, and learned from three hours of speech: of a stranger's words it "
    "mishears half or more. For your recordings take a published model, such as --model base-960h."
)
BEAM = "Hypotheses kept after each frame: more is slower, with fewer errors. Default: 500."
Inputs = Annotated[
    list[str],
    typer.Argument(help="Recordings, folders, patterns, or - for stdin.", metavar="FILES|DIRS|-"),
]
Forms = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT[,FORMAT...]",
        help="txt, json, jsonl, srt, vtt, tsv; html: a page whose words play the recording; "
        "manifest: a line for each segment, to train on; "
        "lattice: all that the search kept, as HTK's SLF. Several go into --output-dir: srt,json.",
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        "--output",
        "-o",
        help="Write one NAME.FORMAT per recording into this folder instead of stdout, in "
        "subfolders as they were found.",
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Skip recordings whose transcript is in --output-dir, if they have not changed since.",
    ),
]
Names = Annotated[
    bool,
    typer.Option("--names", help="On stdout in txt, tsv and vtt: name each recording."),
]
Timestamps = Annotated[
    Literal["segment", "word"],
    typer.Option(help="In srt, vtt and tsv: one entry per segment or per word."),
]

Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Print the words of one recording as they are found, not when it has ended. The text "
        "is the same; txt alone.",
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Go on until Ctrl-C: transcribe the recordings that come into the folders, each when "
        "it is complete. A later call leaves out what is done.",
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        metavar="N|split",
        help="The channel that is heard, from 1 on; split: each apart, as the two sides of a call. "
        "Default: their average.",
    ),
]
MinConfidence = Annotated[
    float,
    typer.Option(
        help="In manifests: leave out segments whose words have a lower mean confidence.",
    ),
]

STREAMING = "Streaming"  # a heading of --help
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Transcribe one input (- is stdin) while it arrives. On a terminal a line grows; "
        "elsewhere txt is a line for each finished stretch, and jsonl an object for each change.",
        rich_help_panel=STREAMING,
    ),
]
LatencySeconds = Annotated[
    float,
    typer.Option(
        "--latency",
        help="With --stream: seconds after which a word is final at the latest, beside the time "
        "that the network takes. Less gives more errors.",
        rich_help_panel=STREAMING,
    ),
]
PcmRate = Annotated[
    int | None,
    typer.Option(
        "--pcm",
        help="With --stream: the input has no header; it is 16 bit PCM, little endian, one "
        "channel, with this many samples a second.",
        metavar="RATE",
        rich_help_panel=STREAMING,
    ),
]


def formats(asked: str) -> tuple[Format, ...]:
    """The formats of `--format srt,json`. Raises UsageError."""
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in FORMATS:
            raise UsageError(refusal("--format", name, FORMATS))
    return tuple(form for form in dict.fromkeys(names) if form in FORMATS)


def channels(asked: str | None) -> Channels:
    """What `--channel` asks for. Raises UsageError."""
    if asked is None or asked == "split":
        return "split" if asked else None
    if not asked.isdecimal() or int(asked) < 1:
        raise UsageError(f"--channel takes a number from 1 on, or split; got {asked!r}.")
    return int(asked)


def refuse_wrong(inputs: Sequence[str], how: Writing) -> None:
    """Raise UsageError for options that cannot hold together."""
    output_dir, skip_existing = how.output_dir, how.skip_existing
    if len(how.forms) > 1 and output_dir is None:
        raise UsageError(
            f"--format {','.join(how.forms)} makes {len(how.forms)} files of a recording: name an "
            "--output-dir for them."
        )
    if how.channel == "split" and STDIN in inputs:
        raise UsageError("--channel split reads a recording several times, and stdin comes once.")
    if "manifest" in how.forms and STDIN in inputs:
        raise UsageError("--format manifest names files, and stdin has no name.")
    if "manifest" in how.forms and how.channel is not None:
        raise UsageError(
            "--format manifest names recordings, which training hears as the average of their "
            "channels: leave out --channel."
        )
    if not 0 <= how.layout.min_confidence <= 1:
        raise UsageError(
            f"--min-confidence must be within 0 and 1, got {how.layout.min_confidence:g}."
        )
    if skip_existing and output_dir is None:
        raise UsageError("--skip-existing looks for files in --output-dir: name one.")
    if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"--output-dir {output_dir} is a file: name a folder.")


def refuse_unlike_watch(inputs: Sequence[str], how: Writing, other: str | None) -> None:
    """Raise UsageError for what cannot be watched. other: another way in which text comes."""
    if other is not None:
        raise UsageError(f"--watch writes files as recordings come: leave out {other}.")
    if how.output_dir is None:
        raise UsageError("--watch writes into --output-dir: name one.")
    for name in inputs:
        if not Path(name).is_dir():
            raise UsageError(f"--watch takes folders, and {name} is none.")
    if Ranks.from_environment().several:
        raise UsageError("--watch is one process: run it without torchrun.")


def tell_notes(options: DecodingOptions, how: Writing) -> None:
    """Tell what the demo model is good for, and of options that change nothing in these formats."""
    if options.model == DecodingOptions.model:
        note(DEMO)
    limits = how.layout.limits.given
    idle: list[tuple[bool, str, tuple[Format, ...], str]] = [
        (
            options.nbest > 1,
            "--nbest",
            ("json", "jsonl"),
            "--format json and jsonl list hypotheses",
        ),
        (how.layout.timestamps == "word", "--timestamps", ("srt", "vtt", "tsv"), ""),
        (how.names and how.output_dir is None, "--names", ("txt", "tsv", "vtt"), ""),
        (bool(limits), ", ".join(limits), ("srt", "vtt"), ""),
        (how.layout.min_confidence > 0, "--min-confidence", ("manifest",), ""),
    ]
    for given, flag, served, why in idle:
        if given and not set(served) & set(how.forms):
            listed = " and ".join([", ".join(served[:-1]), served[-1]] if served[1:] else served)
            has, they_are = ("have", "they are") if "," in flag else ("has", "it is")
            note(
                f"Note: {flag} {has} no effect in {', '.join(how.forms)}: "
                f"{why or f'{they_are} for {listed}'}."
            )


def tell_unwritten(options: DecodingOptions, how: Writing, engine: str) -> None:
    """Tell of options about what is found beside the words, in formats that have only the words."""
    if not {"json", "jsonl", "manifest", "lattice"} & set(how.forms):
        for line in without_effect_written(options, engine, ", ".join(how.forms)):
            note(line)


def tell_idle_stream(options: DecodingOptions, engine: str, names: bool) -> None:
    """Tell of options that change nothing in a stream. engine: the search that runs."""
    for line in without_effect_streamed(options, engine):
        note(line)
    if names:
        note("Note: --names has no effect: a stream is one recording.")


def refuse_unlike_stream(inputs: list[str], how: Writing, pcm_rate: int | None) -> None:
    """Raise UsageError for what cannot be transcribed or written while it arrives."""
    if len(inputs) != 1 or Path(inputs[0]).is_dir():
        raise UsageError("--stream takes one input: -, a pipe or a file.")
    if how.forms not in (("txt",), ("jsonl",)):
        raise UsageError(f"--stream writes txt or jsonl, not {','.join(how.forms)}.")
    if how.channel is not None:
        raise UsageError("--stream hears the average of the channels: leave out --channel.")
    if how.output_dir is not None:
        raise UsageError("--stream writes on stdout: leave out --output-dir, or use > FILE.")
    if pcm_rate is None:
        return
    from w2v2cli.data.decoding.decoder import FASTEST, SLOWEST

    if not SLOWEST <= pcm_rate <= FASTEST:
        raise UsageError(f"--pcm must be {SLOWEST} to {FASTEST} samples a second, got {pcm_rate}.")


def refuse_unlike_way(
    inputs: list[str],
    how: Writing,
    live: bool,
    stream: bool,
    watch: bool,
    latency: float,
    pcm_rate: int | None,
) -> None:
    """Raise UsageError for options that do not fit the way in which text comes."""
    if watch:
        refuse_unlike_watch(inputs, how, "--stream" if stream else "--live" if live else None)
    if live:
        refuse_unlike_live(how, stream)
    if stream:
        refuse_unlike_stream(inputs, how, pcm_rate)
    else:
        refuse_without_stream(latency, pcm_rate)


def refuse_unlike_live(how: Writing, stream: bool) -> None:
    """Raise UsageError for what cannot be written while a recording is transcribed."""
    if stream:
        raise UsageError("--stream prints words as they come already: leave out --live.")
    form = ",".join(how.forms)
    if form != "txt":
        raise UsageError(
            f"--live prints txt, not {form}: leave it out, and {form} is written at the end."
        )
    if how.output_dir is not None:
        raise UsageError("--live prints on stdout: leave out --output-dir, or use > FILE.")


def refuse_without_stream(latency: float, pcm_rate: int | None) -> None:
    """Raise UsageError for an option that only a stream has."""
    if pcm_rate is not None:
        raise UsageError("--pcm goes with --stream.")
    if latency != LATENCY:
        raise UsageError("--latency goes with --stream.")
