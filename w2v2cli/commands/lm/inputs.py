"""What the commands of `w2v2 lm` read: texts and language models by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.errors import UsageError, UserError

TRANSFORMER_NAMES = (".safetensors", ".pt")

Texts = Annotated[
    list[Path],
    typer.Argument(help="Texts: any UTF-8 files, or folders of .txt and .txt.gz.", metavar="TEXT"),
]
LmFile = Annotated[
    str,
    typer.Argument(
        metavar="LM",
        help="A file: .arpa[.gz], KenLM binary, or Transformer (.safetensors, or fairseq's .pt "
        "with its dictionary beside it); 4gram or transformer, the models that ship; or "
        "librispeech-4gram or librispeech-transformer, which are fetched.",
    ),
]
Normalize = Annotated[
    bool,
    typer.Option(
        "--normalize/--no-normalize",
        help="Split running text into sentences and spell them as transcripts are: capitals, "
        "numbers in words, no punctuation. --no-normalize: each line is a sentence, as it is. "
        "Blank lines are left out either way.",
    ),
]


def lm_file(name: str) -> Path:
    """The file of a language model, given by path or by name. Raises UsageError, UserError."""
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.data.locations import NAMED_LMS, named_lm

    full = f"demo-{name}" if name in ("4gram", "transformer") else name
    if full in NAMED_LMS:
        with fetching() as on_fetch:
            file = named_lm(full, on_fetch).path
        assert file is not None
        return file
    if not Path(name).is_file():
        raise UsageError(f"There is no language model at {name}.")
    return Path(name)


@contextmanager
def user_errors(file: Path, verb: str) -> Iterator[None]:
    """Turn the errors of `lm` and of the disk into UserError.

    file, verb: named where the disk does not name a file: "FILE cannot be VERB: reason."
    """
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{error.filename or file} cannot be {verb}: {reason}.") from None
