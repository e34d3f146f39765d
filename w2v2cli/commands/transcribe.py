"""`w2v2 transcribe`: recordings in, words out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import counting, fetching, note, warn
from w2v2cli.commands.transcribe_options import (
    BEAM,
    Form,
    Names,
    OutputDir,
    SkipExisting,
    Timestamps,
    refuse_wrong,
    tell_idle,
)
from w2v2cli.console import say
from w2v2cli.errors import UserError
from w2v2cli.recognition.options import DecodingOptions

if TYPE_CHECKING:
    from w2v2cli.recognition.transcribing import Transcribed

NAMED = 5  # recordings that a message lists before it only counts


@takes(DecodingOptions, help={"beam": BEAM})
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
    timestamps: Timestamps = "segment",
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
    refuse_wrong(output_dir, skip_existing)
    from w2v2cli.recognition.resolving import resolve

    with fetching() as on_fetch:
        settings = resolve(options, note=note, on_fetch=on_fetch)
    tell_idle(options, form, timestamps, names and output_dir is None)

    from w2v2cli.recognition.transcribing import Writing, transcribe_recordings

    how = Writing(form, timestamps, output_dir, skip_existing, names)
    with counting("Transcribing") as on_progress:
        done = transcribe_recordings(
            settings, inputs, how, write=_write, warn=warn, note=say, on_progress=on_progress
        )
    if done is not None:
        _report(done, output_dir)


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
