"""`w2v2 transcribe`: recordings in, words out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import counting, fetching, note, warn
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.options import DecodingOptions

if TYPE_CHECKING:
    from w2v2cli.recognition.transcribing import Transcribed

NAMED = 5  # recordings that a message lists before it only counts

Form = Annotated[
    Literal["txt", "json", "jsonl", "srt", "vtt", "tsv"],
    typer.Option("--format", help="Format of the transcripts."),
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


@takes(
    DecodingOptions,
    help={
        "beam": "Hypotheses kept after each frame: more is slower, with fewer errors. Default: 500."
    },
)
def transcribe(
    options: DecodingOptions,
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Recordings, folders, patterns, or - for stdin.", metavar="FILES|DIRS|-"
        ),
    ],
    form: Form = "txt",
    output_dir: OutputDir = None,
    timestamps: Annotated[
        Literal["segment", "word"],
        typer.Option(help="In srt, vtt and tsv: one entry per segment or per word."),
    ] = "segment",
    skip_existing: SkipExisting = False,
    names: Names = False,
) -> None:
    """Transcribe recordings: text on stdout, one line for each, in the order given.

    A recording that cannot be read is named at the end, the others are transcribed, and the exit
    code is 1. The default model, demo, knows one reader's voice.

    Several processes share the recordings under torchrun.

    Examples:

      w2v2 transcribe talk.mp3

      w2v2 transcribe FOLDER --format srt --output-dir subs --model base-960h --lm 4gram

      cat talk.m4a | w2v2 transcribe -

      torchrun --nproc-per-node 2 --no-python w2v2 transcribe FOLDER --output-dir text
    """
    _check(output_dir, skip_existing)
    from w2v2cli.recognition.resolving import resolve

    with fetching() as on_fetch:
        settings = resolve(options, note=note, on_fetch=on_fetch)
    _tell_idle(options, form, timestamps, names and output_dir is None)

    from w2v2cli.recognition.transcribing import Writing, transcribe_recordings

    how = Writing(form, timestamps, output_dir, skip_existing, names)
    with counting("Transcribing") as on_progress:
        done = transcribe_recordings(
            settings, inputs, how, write=_write, warn=warn, note=say, on_progress=on_progress
        )
    if done is not None:
        _report(done, output_dir)


def _check(output_dir: Path | None, skip_existing: bool) -> None:
    if skip_existing and output_dir is None:
        raise UsageError("--skip-existing looks for files in --output-dir: name one.")
    if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"--output-dir {output_dir} is a file: name a folder.")


def _tell_idle(options: DecodingOptions, form: str, timestamps: str, names: bool) -> None:
    """Tell of options that change nothing in this format."""
    if options.nbest > 1 and form not in ("json", "jsonl"):
        note(f"Note: --nbest has no effect in {form}: --format json and jsonl list hypotheses.")
    if timestamps == "word" and form not in ("srt", "vtt", "tsv"):
        note(f"Note: --timestamps has no effect in {form}: it is for srt, vtt and tsv.")
    if names and form not in ("txt", "tsv", "vtt"):
        note(f"Note: --names has no effect in {form}: it is for txt, tsv and vtt.")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _report(done: Transcribed, output_dir: Path | None) -> None:
    """Name what could not be transcribed; UserError when something could not."""
    if done.failed:
        say("\n".join(done.failed))
    if done.missing:
        again = "with --output-dir and --skip-existing the rest is kept"
        if output_dir is not None:
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
