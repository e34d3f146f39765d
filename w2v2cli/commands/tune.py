"""`w2v2 tune-lm`: which weights of the language model make the fewest errors."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import Data, takes
from w2v2cli.commands.reporting import fetching, note, warn
from w2v2cli.commands.tune_options import BEAM, NOT_OFFERED, Forget, Metric, Split, Study
from w2v2cli.console import say
from w2v2cli.progress import progress
from w2v2cli.recognition.options import TUNING, DecodingOptions
from w2v2cli.recognition.tuning.options import TuningOptions

if TYPE_CHECKING:
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.tuning.session import TuningResult


@takes(TuningOptions, without=["share", "alpha"])
@takes(DecodingOptions, without=NOT_OFFERED, help={"beam": BEAM}, lm="4gram")
def tune_lm(
    options: DecodingOptions,
    tuning: TuningOptions,
    split: Split = None,
    data: Data = None,
    metric: Metric = None,
    study: Study = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout instead of the table.")
    ] = False,
    forget: Forget = False,
) -> None:
    """Find the LM weight and word score with the fewest errors; transcribe and eval then use them.

    Tries --trials pairs of weights. The pair with the lowest error rate is stored for this model
    and LM if it is better than the default by more than chance; none is from the miniature that
    ships. Interrupt it at will: the same call goes on where it was. Two calls at once share the
    work. With --rescore the weights of the second pass are tuned.

    How it works: the acoustic model runs once. A few trials are searched in full, and the errors of
    the others are predicted from what these found. Promising trials are then searched, in a race
    against the best one. The result is always searched in full.
    """
    from w2v2cli.recognition.resolving import resolve
    from w2v2cli.recognition.tuning.session import corpus_to_tune, tune_corpus, untuned

    with fetching() as on_fetch:
        settings = resolve(untuned(options, tuning), TUNING, note=note, on_fetch=on_fetch)
    if forget:
        _forget(settings)
        return
    corpus = corpus_to_tune(split, data)
    if corpus.note:
        say(f"Note: {corpus.note}")
    with progress("Tuning") as on_progress:
        result = tune_corpus(
            settings,
            corpus,
            tuning,
            metric=metric,
            study=study,
            warn=warn,
            on_progress=on_progress,
        )
    _report(result, as_json)


def _report(result: TuningResult, as_json: bool) -> None:
    from w2v2cli.recognition.tuning.report import json_report, print_report, write_report
    from w2v2cli.recognition.tuning.session import earlier

    if as_json:
        report = json_report(result)
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        print_report(result)
    written = write_report(result)
    if len(written) == 1:
        say("There is no drawing: it needs matplotlib (pip install 'w2v2[plots]').")
    say(f"The study is in {result.study}; {written[-1].name} shows it.")
    for line in result.notes:
        say(f"Note: {line}")
    if result.kept is not None:
        say(
            f"transcribe and eval now use these weights with this model and LM, from {result.kept}."
        )
        return
    say(result.refusal or "")
    if (before := earlier(result.settings)) is not None:
        say(
            f"Those of an earlier tuning on {before.data} stay in use ({before.path}): "
            "w2v2 tune-lm --forget removes them."
        )


def _forget(settings: RecognitionOptions) -> None:
    from w2v2cli.recognition.tuning.session import forget

    forgotten = forget(settings)
    for tuned in forgotten:
        say(
            f"Forgotten: LM weight {tuned.weights.lm_weight:g}, word score "
            f"{tuned.weights.word_score:g}, tuned on {tuned.data} ({tuned.path})."
        )
    if not forgotten:
        say(f"No weights are stored for {settings.model.name} and {settings.lm.name}.")
