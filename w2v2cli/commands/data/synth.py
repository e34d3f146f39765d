"""`w2v2 data synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.data.options import Jobs, processes_for
from w2v2cli.console import progress, say
from w2v2cli.errors import exits


def synth(
    text: Annotated[Path, typer.Argument(help="English text file, plain or .gz.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to make, in LibriSpeech's layout.")
    ],
    voices: Annotated[int, typer.Option(help="Number of speakers, 1 to 999.")] = 8,
    utterances: Annotated[
        int | None,
        typer.Option(
            help="Number of utterances, drawn from the text's sentences. "
            "Default: each sentence once."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the voices, sentences and speaking rates.")
    ] = 0,
    jobs: Jobs = None,
) -> None:
    """Make speech from text with espeak-ng in many voices: a corpus for tests and first tries.

    The same call goes on where an earlier one was interrupted.

    Example:

      w2v2 data synth book.txt -o synthetic --voices 20 --utterances 500
    """
    with exits():
        workers = processes_for(jobs)
        from w2v2cli.data.corpora.synthesis import read_text, synthesize

        with progress("speaking") as advance:
            readings = synthesize(
                read_text(text), output, voices, utterances, seed, workers, advance
            )
        speakers = len({reading.voice.speaker for reading in readings})
        say(f"{output}: {len(readings)} utterances by {speakers} voices.")
