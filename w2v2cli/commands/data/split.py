"""`w2v2 data split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.data.options import Corpus, Jobs, processes_for
from w2v2cli.commands.data.report import print_manifest
from w2v2cli.console import counted, say
from w2v2cli.errors import UserError, exits
from w2v2cli.progress import FILES, progress


def split(
    corpus: Corpus,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for train.jsonl, dev.jsonl and test.jsonl."),
    ],
    seed: Annotated[
        int, typer.Option(help="Random seed of the choice of speakers that are held out.")
    ] = 0,
    jobs: Jobs = None,
) -> None:
    """Divide a corpus into train, dev and test, a tenth of the audio each for dev and test.

    No speaker is in two parts where all speakers are known and there are enough of them; otherwise
    a hash of each utterance's id decides. Recordings that cannot be read are left out and named;
    the exit code is then 1.

    Example:

      w2v2 data split recordings -o parts
    """
    with exits():
        workers = processes_for(jobs)
        from w2v2cli.data.scanning import split_corpus

        with progress("Scanning", FILES) as advance:
            parts, by_speaker = split_corpus(
                corpus, output, seed=seed, jobs=workers, on_progress=advance, note=say
            )
        for name, part in parts.items():
            print_manifest(output / f"{name}.jsonl", part)
        if not by_speaker:
            say("The ids decided: the speakers are unknown, too few or too unequal.")
        if failed := len(parts["train"].failures):
            raise UserError(
                f"{counted(failed, 'recording')} cannot be read; the manifests are without them."
            )
