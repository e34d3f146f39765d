"""`w2v2 data prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.data.options import Hash, Jobs, processes_for
from w2v2cli.commands.data.report import print_findings
from w2v2cli.console import counted, say, stdout_console
from w2v2cli.errors import UserError, exits
from w2v2cli.progress import progress

if TYPE_CHECKING:
    from w2v2cli.data.corpora.preparation import Prepared


def prepare(
    corpus: Annotated[
        Literal["librispeech", "librilight", "timit"], typer.Argument(help="Name of the corpus.")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="The corpus's folder, archives or their addresses.", metavar="DIR|ARCHIVE|URL"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to unpack. Default: the folder given, else $W2V2_HOME/data.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this split, fetched if it is not here; can be repeated. Default: all here."
        ),
    ] = None,
    jobs: Jobs = None,
    hash: Hash = True,
) -> None:
    """Unpack a corpus, fetching it first if asked, and write OUTPUT/manifests/SPLIT.jsonl.

    Recordings that cannot be read are left out and named; the exit code is then 1.

    Examples:

      w2v2 data prepare librispeech --split dev-other

      w2v2 data prepare timit TIMIT.zip -o corpora
    """
    with exits():
        workers = processes_for(jobs)
        from w2v2cli.data.corpora import preparation

        with progress("Preparing") as advance:
            folder, prepared = preparation.prepare(
                corpus,
                sources or [],
                split or [],
                output,
                jobs=workers,
                hashed=hash,
                on_progress=advance,
                inform=say,
            )
        _report(prepared, folder)


def _report(prepared: Sequence[Prepared], folder: Path) -> None:
    """Print what the manifests hold; UserError where they are without something."""
    _print_table(prepared)
    say(f"The manifests are in {folder / 'manifests'}.")
    for part in prepared:
        print_findings(part.found)
        if part.note:
            say(part.note)
    if failed := sum(len(part.found.failures) for part in prepared):
        raise UserError(
            f"{counted(failed, 'recording')} cannot be read; the manifests are without them."
        )


def _print_table(prepared: Sequence[Prepared]) -> None:
    """One row per split, on stdout."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE)
    for heading in ("split", "utterances", "hours", "speakers"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for part in prepared:
        found = part.found
        count, hours = str(len(found.utterances)), f"{found.hours:.2f}"
        table.add_row(part.name, count, hours, str(found.speakers))
    stdout_console().print(table)
