"""`w2v2 lm score`: how well a language model predicts a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import LmFile, lm_location, user_errors
from w2v2cli.commands.lm.text_options import TextFlags
from w2v2cli.console import counted, say
from w2v2cli.errors import UsageError, UserError

if TYPE_CHECKING:
    from lm.perplexity import VocabularyModel
    from w2v2cli.data.locations import LmLocation


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
    from w2v2cli.recognition.devices import resolve_device

    resolve_device(device)  # refuses a wrong name, whether a Transformer is to run or not
    location = lm_location(path)
    if not text.is_file():
        raise UsageError(f"There is no text at {text}.")
    total = Perplexity()
    with user_errors(text, "read"):
        report = ReadReport(flags.reading([text]) if flags.given else AS_IT_IS)
        # The text is read again each time, so that it need not fit into memory.
        words = sorted({w for s in read_sentences(text, report.reading, report) for w in s})
        for line in report.lines() if flags.given else ():
            say(line)
        model = _open(location, words, upper, device)
        scored = score_text(model, read_sentences(text, report.reading))
        texts = read_sentences(text, report.reading)
        for sentence, one in zip(texts, scored, strict=True):
            log10 = one.log_prob / math.log(10)
            typer.echo(f"{log10:.4f}\t{one.unknown}\t{' '.join(sentence)}")
            total += one
    if not total.sentences:
        raise UserError(f"{text} holds no sentence.")
    share = f"{total.unknown} unknown ({total.unknown / max(1, total.words):.1%})"
    typer.echo(f"\n{counted(total.sentences, 'sentence')}, {counted(total.words, 'word')}, {share}")
    typer.echo(
        f"perplexity per word: {total.including:.2f} with unknown words, "
        f"{total.excluding:.2f} without"
    )


def _open(location: LmLocation, words: Sequence[str], upper: bool, device: str) -> VocabularyModel:
    """Open a model of any kind for the words of a text. Raises UserError without KenLM."""
    from storage.home import home
    from w2v2cli.recognition.searching.build import open_language_model

    try:
        model: VocabularyModel = open_language_model(
            location,
            cache=home() / "search",
            device=device,
            words=words,
            upper=upper,
            warn=say,
        )
    except ImportError:
        raise UserError(
            f"Scoring with {location.path} needs kenlm, which Python 3.10 to 3.12 have."
        ) from None
    return model
