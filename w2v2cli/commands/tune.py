"""`w2v2 tune-lm`: which weights of the language model make the fewest errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.reporting import fetching, warn
from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import TUNING, DecodingOptions

if TYPE_CHECKING:
    from w2v2cli.recognition.tuning.session import TuningResult

BOUNDS = "Bounds"


@takes(
    DecodingOptions,
    without=[
        "lm_weight",
        "word_score",
        "unk_score",
        "sil_score",
        "hotwords",
        "rescore_lm_weight",
        "rescore_word_score",
        "nbest",
    ],
    help={
        "beam": "Hypotheses kept after each frame: more is slower, with fewer errors. "
        f"Default: {TUNING.ngram}, with a Transformer {TUNING.transformer}."
    },
    lm="4gram",
)
def tune_lm(
    options: DecodingOptions,
    trials: Annotated[int, typer.Option(help="Pairs of weights to try.")] = 128,
    split: Annotated[
        str | None,
        typer.Option(
            help="LibriSpeech split to tune on; not with a corpus of your own in --data. "
            "Default: dev-other.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="With --split: the folder LibriSpeech was unpacked in. Without: your corpus, a "
            "folder with *.trans.txt or transcripts.tsv, a fairseq .tsv or a JSONL manifest."
        ),
    ] = None,
    metric: Annotated[
        Literal["wer", "cer", "per"],
        typer.Option(help="Error rate to lower: of words, characters or phones."),
    ] = "wer",
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Search the whole corpus in every trial: ten times the work."),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Random seed: with the same one the same weights are tried.")
    ] = 0,
    study: Annotated[
        Path | None,
        typer.Option(help="Folder for the trials. Default: one in $W2V2_HOME/studies."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout instead of the table.")
    ] = False,
    lm_weight: Annotated[
        tuple[float, float],
        typer.Option(help="LM weights to try.", rich_help_panel=BOUNDS, metavar="LOW HIGH"),
    ] = (0.0, 5.0),
    word_score: Annotated[
        tuple[float, float],
        typer.Option(help="Word scores to try.", rich_help_panel=BOUNDS, metavar="LOW HIGH"),
    ] = (-5.0, 5.0),
    sil_score: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Scores of boundary frames to try. Default: 0, not tuned.",
            rich_help_panel=BOUNDS,
            metavar="LOW HIGH",
        ),
    ] = None,
) -> None:
    """Find the LM weight and word score with the fewest errors; transcribe and eval then use them.

    Tries --trials pairs of weights and stores the pair with the lowest error rate for this model
    and LM. Interrupt it at will: the same call goes on where it was. Two calls at once share the
    work. With --rescore the weights of the second pass are tuned.

    How it works: the acoustic model runs once. A few trials are searched in full, and the errors of
    the others are predicted from what these found. Promising trials are then searched, in a race
    against the best one. The result is always searched in full.
    """
    from lm.weights.proposals import Bounds, TuningError
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.recognition.resolving import resolve
    from w2v2cli.recognition.tuning.session import tune_corpus, untuned
    from w2v2cli.recognition.tuning.trials import TuningOptions

    try:
        bounds = Bounds(lm_weight, word_score, sil_score)
    except TuningError as error:
        raise UsageError(str(error)) from None
    tuning = TuningOptions(trials, bounds, seed, exact)
    with fetching() as on_fetch:
        settings = resolve(untuned(options, bounds), TUNING, note=say, on_fetch=on_fetch)
    corpora = find_splits(split or (None if data else "dev-other"), data)
    if len(corpora) > 1:
        raise UsageError(
            f"--split {split} names {len(corpora)} splits: tune on one, dev-other in the paper."
        )
    if corpora[0].note:
        say(f"Note: {corpora[0].note}")
    with progress("Tuning") as on_progress:
        result = tune_corpus(
            settings,
            corpora[0],
            tuning,
            metric=metric,
            study=study,
            warn=warn,
            on_progress=on_progress,
        )
    _report(result, as_json)


def _report(result: TuningResult, as_json: bool) -> None:
    from w2v2cli.recognition.tuning.report import json_report, print_report, write_report

    if as_json:
        report = json_report(result)
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        print_report(result)
    written = write_report(result)
    if len(written) == 1:
        say("There is no drawing: it needs matplotlib (pip install 'w2v2[plots]').")
    say(f"The study is in {result.study}; {written[-1].name} shows it.")
    say(f"transcribe and eval now use these weights with this model and LM, from {result.kept}.")
