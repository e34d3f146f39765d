"""`w2v2 eval`: how many errors a model makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.evaluation.evaluate_options import (
    BEAM,
    Normalizing,
    Output,
    Protocol,
    Seed,
    SkipExisting,
    Split,
    Trials,
    Worst,
    refuse_decided,
    refuse_wrong,
)
from w2v2cli.commands.evaluation.protocol import paper_protocol
from w2v2cli.commands.flags import Data, takes
from w2v2cli.commands.reporting import fetching, hearing, note, warn
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.options import TESTING, DecodingOptions

if TYPE_CHECKING:
    from w2v2cli.recognition.evaluating import Evaluated
    from w2v2cli.recognition.resolving import RecognitionOptions


@takes(DecodingOptions, without=["nbest", "posterior_scale"], help={"beam": BEAM}, lm="4gram")
def evaluate(
    options: DecodingOptions,
    split: Split = None,
    data: Data = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")
    ] = False,
    output: Output = None,
    skip_existing: SkipExisting = False,
    worst: Worst = 5,
    normalizer: Normalizing = None,
    seed: Seed = 0,
    protocol: Protocol = None,
    trials: Trials = None,
) -> None:
    """Transcribe a corpus and count the errors: WER, CER, by speaker, and the worst utterances.

    LibriSpeech is looked for in --data, $W2V2_DATA and the current folder. Without it a miniature
    that ships with w2v2 is evaluated, and every report says so. Intervals are 95% bootstraps over
    utterances.

    Several processes share the corpus: torchrun --nproc-per-node 2 --no-python w2v2 eval ...
    """
    if protocol is not None:
        refuse_decided(split, output, normalizer)
        paper_protocol(options, data, trials, seed, as_json)
        return
    if trials is not None:
        raise UsageError("--trials goes with --protocol paper: tune-lm tunes without it.")
    refuse_wrong(options, split, data, output, skip_existing)
    settings = _resolved(options)
    done = _evaluated(settings, split, data, output, skip_existing, normalizer)
    if done is not None:  # the first rank reports
        _report(done, settings, as_json, worst, seed)


def _evaluated(
    settings: RecognitionOptions,
    split: str | None,
    data: Path | None,
    output: Path | None,
    skip_existing: bool,
    normalizer: Literal["english", "basic", "none"] | None,
) -> Evaluated | None:
    """Evaluate, with the corpora's notes and the progress on stderr."""
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.recognition.evaluating import evaluate_corpora

    corpora = find_splits(split, data)
    for corpus in corpora:
        if corpus.note:
            note(f"Note: {corpus.note}")
    with hearing("Evaluating") as on_progress:
        return evaluate_corpora(
            settings,
            corpora,
            output=output,
            skip_existing=skip_existing,
            normalizer=normalizer,
            warn=warn,
            note=note,
            on_progress=on_progress,
        )


def _resolved(options: DecodingOptions) -> RecognitionOptions:
    from w2v2cli.recognition.resolving import resolve

    with fetching() as on_fetch:
        return resolve(options, TESTING, note=note, on_fetch=on_fetch)


def _report(
    done: Evaluated, settings: RecognitionOptions, as_json: bool, worst: int, seed: int
) -> None:
    """Print the errors, then name what is not counted; UserError when something is not."""
    from w2v2cli.recognition.scoring.report import json_report, print_report

    if done.shortfall is None and as_json:
        report = json_report(done.evaluations, settings, seed)
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    elif done.shortfall is None:
        print_report(done.evaluations, settings, worst, seed)
    failed = [failure for result in done.evaluations for failure in result.failures]
    if failed:
        say("\n".join(f"{failure.id}: {failure.error}" for failure in failed))
    if done.shortfall is not None:
        raise UserError(done.shortfall)
    if failed:
        total = len(failed) + sum(len(result.utterances) for result in done.evaluations)
        raise UserError(
            f"{len(failed)} of {total} utterances could not be transcribed and are not counted "
            "(see above)."
        )
