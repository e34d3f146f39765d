"""The options of `w2v2 transcribe` beside those of the search, and which go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.reporting import note
from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import DecodingOptions

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
        help="Write one NAME.FORMAT per recording into this folder instead of stdout, in "
        "subfolders as they were found."
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
