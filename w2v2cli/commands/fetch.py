"""`w2v2 fetch`: models and language models, on this machine ahead of their use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.errors import UsageError, exits


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names of models (w2v2 model list), repositories of the hub (org/name), "
            "librispeech-4gram, librispeech-transformer.",
            metavar="NAME...",
        ),
    ],
    language: Annotated[
        str | None,
        typer.Option(
            help="Also the adapter of this language, of a model that has one for each (MMS).",
            metavar="TAG",
        ),
    ] = None,
) -> None:
    """Download models and language models, and print where they are.

    The first use of a model fetches it too; machines without a network, and jobs that must not
    wait, need it before. What is there is not fetched again. `w2v2 model info` describes a model
    without fetching its weights; `w2v2 cache list` shows what takes room.

    Examples:

      w2v2 fetch base-960h librispeech-4gram

      w2v2 fetch facebook/mms-1b-all --language tur
    """
    with exits():
        fetch_each(names, language)


def fetch_each(names: Sequence[str], language: str | None = None) -> None:
    """Fetch models and language models one after the other, and print where each is."""
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.data.locations import NAMED_LMS, named_lm, resolve_model

    for name in names:
        with fetching() as on_fetch:
            full = [known for known in NAMED_LMS if known.endswith(f"-{name}")]
            if full:  # 4gram, transformer
                raise UsageError(f"{name} is of several models: name {' or '.join(full)}.")
            if name in NAMED_LMS:
                path = named_lm(name, on_fetch).path
            else:
                path = resolve_model(name, on_fetch, language).path
        assert path is not None
        typer.echo(f"{path}: {size_of(path) / 1e6:.1f} MB")


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
