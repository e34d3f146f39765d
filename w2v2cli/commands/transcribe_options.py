"""The options of `w2v2 transcribe` beside those of the search, and which go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.reporting import note
from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import DecodingOptions, without_effect_live

LATENCY = 3.0  # seconds, where none are named
BEAM = "Hypotheses kept after each frame: more is slower, with fewer errors. Default: 500."
Form = Annotated[
    Literal["txt", "json", "jsonl", "srt", "vtt", "tsv", "lattice"],
    typer.Option(
        "--format",
        help="Format of the transcripts; lattice: all that the search kept, as HTK's SLF.",
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

AsFound = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Print the words of one recording as they are found, not when it has ended. The text "
        "is the same; txt alone.",
    ),
]

LIVE = "Streaming"  # a heading of --help
Live = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Transcribe one input (- is stdin) while it arrives. On a terminal a line grows; "
        "elsewhere txt is a line for each finished stretch, and jsonl an object for each change.",
        rich_help_panel=LIVE,
    ),
]
LatencySeconds = Annotated[
    float,
    typer.Option(
        "--latency",
        help="With --stream: seconds after which a word is final at the latest, beside the time "
        "that the network takes. Less gives more errors.",
        rich_help_panel=LIVE,
    ),
]
PcmRate = Annotated[
    int | None,
    typer.Option(
        "--pcm",
        help="With --stream: the input has no header; it is 16 bit PCM, little endian, one "
        "channel, with this many samples a second.",
        metavar="RATE",
        rich_help_panel=LIVE,
    ),
]


def refuse_wrong(output_dir: Path | None, skip_existing: bool) -> None:
    """Raise UsageError for options that cannot hold together."""
    if skip_existing and output_dir is None:
        raise UsageError("--skip-existing looks for files in --output-dir: name one.")
    if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"--output-dir {output_dir} is a file: name a folder.")


def tell_idle(options: DecodingOptions, form: str, timestamps: str, names: bool) -> None:
    """Tell of options that change nothing in this format."""
    if options.nbest > 1 and form not in ("json", "jsonl"):
        note(f"Note: --nbest has no effect in {form}: --format json and jsonl list hypotheses.")
    if timestamps == "word" and form not in ("srt", "vtt", "tsv"):
        note(f"Note: --timestamps has no effect in {form}: it is for srt, vtt and tsv.")
    if names and form not in ("txt", "tsv", "vtt"):
        note(f"Note: --names has no effect in {form}: it is for txt, tsv and vtt.")


def tell_idle_live(options: DecodingOptions, engine: str, names: bool) -> None:
    """Tell of options that change nothing in a stream. engine: the search that runs."""
    for line in without_effect_live(options, engine):
        note(line)
    if names:
        note("Note: --names has no effect: a stream is one recording.")


def refuse_unlike_stream(
    inputs: list[str], form: str, output_dir: Path | None, pcm_rate: int | None
) -> None:
    """Raise UsageError for what cannot be transcribed or written while it arrives."""
    if len(inputs) != 1 or Path(inputs[0]).is_dir():
        raise UsageError("--stream takes one input: -, a pipe or a file.")
    if form not in ("txt", "jsonl"):
        raise UsageError(f"--stream writes txt or jsonl, not {form}.")
    if output_dir is not None:
        raise UsageError("--stream writes on stdout: leave out --output-dir, or use > FILE.")
    if pcm_rate is None:
        return
    from w2v2cli.data.decoding.decoder import FASTEST, SLOWEST

    if not SLOWEST <= pcm_rate <= FASTEST:
        raise UsageError(f"--pcm must be {SLOWEST} to {FASTEST} samples a second, got {pcm_rate}.")


def refuse_unlike_way(
    inputs: list[str],
    form: str,
    output_dir: Path | None,
    live: bool,
    stream: bool,
    latency: float,
    pcm_rate: int | None,
) -> None:
    """Raise UsageError for options that do not fit the way in which text comes."""
    if live:
        refuse_unlike_live(form, output_dir, stream)
    if stream:
        refuse_unlike_stream(inputs, form, output_dir, pcm_rate)
    else:
        refuse_without_stream(latency, pcm_rate)


def refuse_unlike_live(form: str, output_dir: Path | None, stream: bool) -> None:
    """Raise UsageError for what cannot be written while a recording is transcribed."""
    if stream:
        raise UsageError("--stream prints words as they come already: leave out --live.")
    if form != "txt":
        raise UsageError(
            f"--live prints txt, not {form}: leave it out, and {form} is written at the end."
        )
    if output_dir is not None:
        raise UsageError("--live prints on stdout: leave out --output-dir, or use > FILE.")


def refuse_without_stream(latency: float, pcm_rate: int | None) -> None:
    """Raise UsageError for an option that only a stream has."""
    if pcm_rate is not None:
        raise UsageError("--pcm goes with --stream.")
    if latency != LATENCY:
        raise UsageError("--latency goes with --stream.")
