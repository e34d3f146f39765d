"""`w2v2 lm compile`: what the search keeps of a language model and a lexicon, made ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.lm.inputs import user_errors
from w2v2cli.console import say
from w2v2cli.errors import UserError, exits

if TYPE_CHECKING:
    from lm.ngram.room import Room


def compile_lm(
    lm: Annotated[
        str,
        typer.Argument(
            metavar="LM", help="Language model, as --lm of transcribe: a name or a file of n-grams."
        ),
    ],
    lexicon: Annotated[
        Path | None,
        typer.Option(
            help="Words that can be recognised. Default: all words of the language model.",
            metavar="PATH",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Acoustic model whose symbols spell the words.", metavar="MODEL")
    ] = "demo",
) -> None:
    """Make the files ahead that the search keeps in $W2V2_HOME/search.

    The first search with a language model makes them otherwise, which takes minutes for a large
    one. Afterwards `transcribe`, `eval` and `tune-lm` open them in a moment.

    Example:

      w2v2 lm compile librispeech-4gram --model base-960h
    """
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.recognition.options import DecodingOptions
    from w2v2cli.recognition.recognizer import model_outputs
    from w2v2cli.recognition.resolving import resolve
    from w2v2cli.recognition.searching.build import keep_files

    with exits():
        with fetching() as on_fetch:
            asked = DecodingOptions(model=model, lm=lm, lexicon=lexicon)
            options = resolve(asked, on_fetch=on_fetch)
        outputs = model_outputs(options.model)
        spec = options.search_spec(outputs.labels, outputs.metadata)
        if spec.lm is None and spec.lexicon is None:
            raise UserError("--lm none and no lexicon: there is nothing to make.")
        if spec.transformer or spec.engine not in ("compiled", "batched"):
            raise UserError(
                f"{spec.lm} is searched with as it is ({spec.engine}): there is nothing to make."
            )
        with user_errors(spec.lm or spec.cache or Path(lm), "kept"):
            made, words = keep_files(spec, say, _told)
            if made is not None:
                say(f"{made}: {made.stat().st_size / 1e6:.1f} MB.")
            say(f"{words} words and their spellings are kept in {spec.cache}.")


def _told(room: Room) -> None:
    """Say what a file will take before it is made. Raises UserError where the disk lacks it."""
    say(
        f"{room.arpa}: {room.ngrams} n-grams need {room.disk / 1e9:.2f} GB on the disk of "
        f"{room.folder} and about {room.memory / 1e9:.2f} GB of memory while they are read."
    )
    if room.free < room.disk:
        raise UserError(
            f"{room.folder} has {room.free / 1e9:.2f} GB left, and {room.arpa} needs "
            f"{room.disk / 1e9:.2f} GB there: make room (w2v2 cache list), or set W2V2_HOME to a "
            "folder on a larger disk."
        )
