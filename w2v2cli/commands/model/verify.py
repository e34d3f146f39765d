"""`w2v2 model verify`: fetched files compared with their hashes."""

from __future__ import annotations

from typing import Annotated

import typer

from w2v2cli.commands.reporting import counting
from w2v2cli.console import say
from w2v2cli.errors import UserError, exits


def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A published model, or a repository of the hub (org/name). "
            "Default: all fetched models and language models.",
            metavar="[NAME]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare fetched files with the hashes that the hub stated, or that were recorded.

    Prints one line a file: ok, NO for one that differs or is missing, -- for one without a known
    hash. Exit code 1 when a file differs or is missing.
    """
    with exits():
        from w2v2cli.data.verification import check_file, fetched_files

        paths = fetched_files(name)
        if not paths:
            say("Nothing was fetched: there is nothing to verify.")
        wrong = 0
        with counting("Hashing") as on_progress:
            for done, path in enumerate(paths):
                on_progress(done, len(paths))
                check = check_file(path)
                wrong += check.fine is False
                mark = {True: "ok", False: "NO", None: "--"}[check.fine]
                typer.echo(f"{mark}  {check.path}: {check.finding}")
        if wrong:
            raise UserError(
                f"{wrong} of {len(paths)} files differ or are missing: delete those that differ, "
                "and the next use of the model fetches them again."
            )
