"""`w2v2 data scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.data.options import Corpus, Hash, Jobs, processes_for
from w2v2cli.commands.data.report import print_manifest
from w2v2cli.console import say
from w2v2cli.errors import UserError, exits, refuse_overwriting
from w2v2cli.progress import FILES, progress


def scan(
    corpus: Corpus,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Manifest to write: .jsonl, or .tsv for fairseq."),
    ],
    audio_column: Annotated[
        str | None,
        typer.Option(help="Column of the recordings in a dataset of Hugging Face.", metavar="NAME"),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(help="Column of the texts in a dataset of Hugging Face.", metavar="NAME"),
    ] = None,
    jobs: Jobs = None,
    hash: Hash = True,
    decode: Annotated[
        bool,
        typer.Option(help="Decode each recording to its end, which finds damage inside; slower."),
    ] = False,
) -> None:
    """Write a manifest: length, rate, speaker, hash and text of every recording.

    Recordings that cannot be read are left out and named; the exit code is then 1.

    Example:

      w2v2 data scan recordings -o recordings.jsonl
    """
    with exits():
        refuse_overwriting("--output", output, [corpus])
        workers = processes_for(jobs)
        from w2v2cli.data.corpora.saved_dataset import Columns
        from w2v2cli.data.scanning import scan_corpus

        with progress("Scanning", FILES) as advance:
            found = scan_corpus(
                corpus,
                output,
                jobs=workers,
                hashed=hash,
                decoded=decode,
                on_progress=advance,
                note=say,
                columns=Columns(audio_column, text_column),
            )
        print_manifest(output, found)
        if unreadable := len(found.failures):
            total = len(found.utterances) + unreadable
            raise UserError(f"{unreadable} of {total} recordings cannot be read.")
