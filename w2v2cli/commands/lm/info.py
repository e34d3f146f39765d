"""`w2v2 lm info`: what a language model holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from w2v2cli.commands.lm.inputs import LmFile, lm_location, user_errors
from w2v2cli.console import say
from w2v2cli.errors import exits


def info(path: LmFile) -> None:
    """Print what a language model file holds.

    For an n-gram model: the number of n-grams of each order, and whether unknown words have a
    probability; a file that is cut short is refused. For a
    Transformer: its architecture, words, softmax and longest history.

    Examples:

      w2v2 lm info transformer

      w2v2 lm info lm.arpa.gz
    """
    with exits():
        location = lm_location(path)
        file = location.path
        assert file is not None
        describe = {"transformer": _transformer, "arpa": _arpa, "kenlm": _kenlm}[location.kind]
        with user_errors(file, "read"):
            lines = list(describe(file))
        typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
        for line in lines:
            typer.echo(line)


def _arpa(file: Path) -> Iterator[str]:
    from lm.ngram.arpa import check_end, has_unknown, read_counts

    check_end(file)
    for n, count in enumerate(read_counts(file), 1):
        yield f"{n}-grams: {count}"
    unknown = "have a probability" if has_unknown(file) else "have none (no <unk>)"
    yield f"unknown words: {unknown}"


def _kenlm(file: Path) -> Iterator[str]:
    from lm.ngram.kenlm_binary import KINDS, read_header

    header = read_header(file)
    yield f"a KenLM file of order {header.order}: {KINDS[header.kind]}"
    for n, count in enumerate(header.counts, 1):
        yield f"{n}-grams: {count}"
    yield f"words: {'listed' if header.has_words else 'not listed (build_binary -v)'}"


def _transformer(file: Path) -> Iterator[str]:
    from lm.transformer.checkpoint import build_transformer
    from lm.transformer.fairseq import read_transformer

    checkpoint = read_transformer(file, warn=say)
    build_transformer(checkpoint)  # checks that the weights fit
    config = checkpoint.config
    yield (
        f"a word Transformer: {config.blocks} blocks, d={config.width}, FFN {config.inner}, "
        f"{config.heads} heads, {config.activation}, {checkpoint.parameters / 1e6:.1f} M parameters"
    )
    yield f"words: {len(checkpoint.dictionary.words)}, and <unk> for all others"
    bands = ", ".join(map(str, config.bands))
    ties = ", tied to the input's" if config.tie_words else ""
    yield (
        f"softmax: bands to {bands}, by {config.factor:g}{ties}"
        if config.cutoffs
        else f"softmax: plain{ties}"
    )
    yield f"longest history: {config.positions} words"
