"""`w2v2 lm score`: how well a language model predicts a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import (
    TRANSFORMER_NAMES,
    LmFile,
    TextFlags,
    lm_file,
    user_errors,
)
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError

if TYPE_CHECKING:
    from lm.perplexity import VocabularyModel


@takes(TextFlags)
def score(
    flags: TextFlags,
    path: LmFile,
    text: Annotated[Path, typer.Argument(help="A UTF-8 text, .gz if compressed.", metavar="TEXT")],
    upper: Annotated[
        bool,
        typer.Option(
            help="Write the words of fairseq's Transformer (.pt) in capitals, as transcripts are."
        ),
    ] = True,
    device: Annotated[
        str,
        typer.Option(
            help="Where a Transformer runs: auto (a GPU if there is one), cpu, cuda or cuda:N.",
            metavar="DEVICE",
        ),
    ] = "auto",
) -> None:
    """Print log10 p, number of unknown words and text of each sentence, then the perplexity.

    The end of a sentence is predicted and counts like a word. An unknown word is scored as <unk>,
    whichever word it is. Each line is a sentence as it is, unless an option says otherwise.

    Example:

      w2v2 lm score 4gram held-out.txt
    """
    from lm.perplexity import Perplexity, score_text
    from lm.text.reading import AS_IT_IS, ReadReport
    from lm.text.sentences import read_sentences

    file = lm_file(path)
    if not text.is_file():
        raise UsageError(f"There is no text at {text}.")
    total = Perplexity()
    with user_errors(text, "read"):
        report = ReadReport(flags.reading([text]) if flags.given else AS_IT_IS)
        # The text is read again each time, so that it need not fit into memory.
        words = sorted({w for s in read_sentences(text, report.reading, report) for w in s})
        for line in report.lines() if flags.given else ():
            say(line)
        model = _open(file, words, upper, device)
        scored = score_text(model, read_sentences(text, report.reading))
        texts = read_sentences(text, report.reading)
        for sentence, one in zip(texts, scored, strict=True):
            log10 = one.log_prob / math.log(10)
            typer.echo(f"{log10:.4f}\t{one.unknown}\t{' '.join(sentence)}")
            total += one
    if not total.sentences:
        raise UserError(f"{text} holds no sentence.")
    share = f"{total.unknown} unknown ({total.unknown / max(1, total.words):.1%})"
    typer.echo(f"\n{total.sentences} sentences, {total.words} words, {share}")
    typer.echo(
        f"perplexity per word: {total.including:.2f} with unknown words, "
        f"{total.excluding:.2f} without"
    )


def _open(file: Path, words: Sequence[str], upper: bool, device: str) -> VocabularyModel:
    """Open a model of either kind for the words of a text."""
    if file.suffix not in TRANSFORMER_NAMES:
        return _open_ngram(file, words)
    from lm.transformer.model import open_transformer_lm
    from w2v2cli.recognition.devices import resolve_device
    from w2v2cli.recognition.options import DecodingOptions

    return open_transformer_lm(
        file,
        words,
        device=resolve_device(device),
        upper=upper,
        warn=say,
        cache_gb=DecodingOptions.lm_cache_gb,
    )


def _open_ngram(file: Path, words: Sequence[str]) -> VocabularyModel:
    """Open an n-gram model by KenLM or, where Python is too new for it, by the compiled library."""
    from lm.native.library import is_built
    from lm.ngram.automaton import open_automaton
    from lm.ngram.kenlm import NgramLM, is_arpa
    from storage.home import home

    try:
        return NgramLM(file, words)
    except ImportError:
        if not is_arpa(file) or not is_built():
            raise UserError(
                f"Scoring with {file} needs kenlm, which Python 3.10 to 3.12 have."
            ) from None
    model, warnings = open_automaton(file, home() / "search", words)
    for sentence in warnings:
        say(f"Warning: {sentence}")
    return model
