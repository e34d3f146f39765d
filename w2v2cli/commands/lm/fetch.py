"""`w2v2 lm fetch`: LibriSpeech's language models, fetched ahead of their use."""

from __future__ import annotations

from typing import Annotated

import typer

from w2v2cli.commands.fetch import fetch_each
from w2v2cli.errors import UsageError, exits


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(help="librispeech-4gram, librispeech-transformer.", metavar="NAME..."),
    ],
) -> None:
    """Download language models into $W2V2_HOME/lm, and print their files.

    librispeech-4gram (OpenSLR) and librispeech-transformer (wav2letter) are those of the paper. The
    first use of `--lm 4gram` or `--lm transformer` fetches them too; machines without a network
    need them before. A file that is there is not fetched again, and `w2v2 model verify` checks it.

    Example:

      w2v2 lm fetch librispeech-4gram
    """
    with exits():
        from w2v2cli.data.locations import FETCHED_LMS
        from w2v2cli.help import refusal

        for name in names:
            if name not in FETCHED_LMS:
                raise UsageError(refusal("NAME", name, list(FETCHED_LMS)))
        fetch_each(names)
