"""The model that these commands are given, found and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.reporting import fetching
from w2v2cli.errors import UserError

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from w2v2cli.data.locations import ModelLocation

NAMED = typer.Argument(
    help="A name (w2v2 model list), a repository of the hub (org/name), a folder or a file.",
    metavar="NAME|REPOSITORY|PATH",
    show_default=False,
)
Language = Annotated[
    str | None,
    typer.Option(
        help="Language of a model that has an adapter for each (MMS). Default: that of its main "
        "weights.",
        metavar="TAG",
    ),
]


def load(name: str, language: str | None) -> tuple[ModelLocation, Checkpoint]:
    """Find a model by name or path, fetching it where needed. Raises UsageError, UserError."""
    from models.importers.reader import read_model
    from w2v2cli.data.locations import resolve_model

    with fetching() as on_progress:
        location = resolve_model(name, on_progress, language)
    try:
        return location, read_model(location.path, language)
    except ValueError as error:
        raise UserError(str(error)) from error
