"""Texts and language models by name, as the commands of `w2v2 lm` take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.errors import UsageError, UserError

if TYPE_CHECKING:
    from lm.ngram.revision.trie import NgramTrie
    from w2v2cli.data.locations import LmKind, LmLocation

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


def lm_location(name: str) -> LmLocation:
    """A language model given by path or by name. Raises UsageError, UserError."""
    from lm.ngram.kenlm import is_arpa
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.data.locations import NAMED_LMS, TRANSFORMERS, LmLocation, named_lm

    full = f"demo-{name}" if name in ("4gram", "transformer") else name
    if full in NAMED_LMS:
        with fetching() as on_fetch:
            return named_lm(full, on_fetch)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"There is no language model at {name}.")
    kind: LmKind = "kenlm"
    if file.suffix in TRANSFORMERS:
        kind = "transformer"
    elif is_arpa(file):
        kind = "arpa"
    return LmLocation(name, file, None, kind)


def read_ngram_model(path: Path) -> NgramTrie:
    """An ARPA file in memory. Raises UsageError where there is none, UserError for another file."""
    from lm.ngram.kenlm import is_arpa
    from lm.ngram.revision.trie import read_trie

    if not path.is_file():
        raise UsageError(f"There is no language model at {path}.")
    if not is_arpa(path):
        raise UsageError(f"{path} does not have the name of an ARPA file (.arpa, .arpa.gz).")
    with user_errors(path, "read"):
        return read_trie(path)


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
