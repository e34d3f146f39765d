"""`w2v2 model list`: the names of models, and where each is."""

from __future__ import annotations

import typer

from w2v2cli.errors import exits


def names() -> None:
    """List the names that --model takes, and say which models are on this machine.

    It takes any other repository of the hub too, as org/name or org/name@revision; those of
    wav2vec 2.0 that are on this machine follow the names.
    """
    with exits():
        from w2v2cli.data.hub import whole_models
        from w2v2cli.data.locations import PUBLISHED, found_here

        typer.echo("demo                   ships with w2v2")
        for name, repository in PUBLISHED.items():
            where = "on this machine" if found_here(name) else "fetched when asked for"
            typer.echo(f"{name:<22} {where}: {repository}")
        for name in sorted(whole_models() - {*PUBLISHED.values()}):
            typer.echo(f"{name:<22} on this machine")
