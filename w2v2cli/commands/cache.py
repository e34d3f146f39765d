"""`w2v2 cache list` and `clear`: what lies in $W2V2_HOME, and what can be made again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from storage.home import home
from w2v2cli.commands.calls.every import Commands
from w2v2cli.console import say
from w2v2cli.errors import UserError, exits

CACHES = {
    "search": "language models and lexicons as the search reads them",
    "emissions": "log-probabilities of corpora that were tuned on",
    "hashes": "hashes of large files",
    "text": "texts as numbers, of lm train",
}
KEPT = {
    "data": "corpora of data prepare",
    "lm": "language models, fetched",
    "models": "models, fetched by an earlier version",
    "outputs": "what transcripts were made from, for --skip-existing",
    "studies": "trials of tune-lm",
    "tuned": "weights that tune-lm found",
}
app = Commands(help="List and clear what is kept in $W2V2_HOME.", no_args_is_help=True)


@app.command("list")
def list_folders() -> None:
    """Print each folder of $W2V2_HOME with its size; those that `clear` removes are marked."""
    with exits():
        folders = sorted(path for path in home().glob("*") if path.is_dir())
        for folder in folders:
            name = folder.name
            what = f"cache: {CACHES[name]}" if name in CACHES else KEPT.get(name, "")
            line = f"{_bytes(folder) / 1e6:>10.1f} MB  {name:<12}  {what}"
            typer.echo(line.rstrip())
        say(
            f"In {home()}: w2v2 cache clear removes what is called a cache here. Models of the "
            "Hugging Face hub are in its own."
        )


@app.command()
def clear(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
) -> None:
    """Remove the caches: what the next call makes again. Models, corpora and results stay.

    Not while another call of w2v2 runs.
    """
    with exits():
        freed = 0
        for name in CACHES:
            folder = home() / name
            freed += _bytes(folder)
            if not dry_run and folder.is_dir():
                try:
                    shutil.rmtree(folder)
                except OSError as error:
                    raise UserError(f"{folder} cannot be removed: {error.strerror}.") from None
        say(f"{'Would free' if dry_run else 'Freed'} {freed / 1e6:.1f} MB in {home()}.")


def _bytes(folder: Path) -> int:
    """Bytes of the files in a folder, links not followed."""
    return sum(
        os.lstat(os.path.join(top, name)).st_size
        for top, _, names in os.walk(folder)
        for name in names
    )
