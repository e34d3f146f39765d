"""`w2v2 eval`: how many errors a model makes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.evaluation.evaluate_options import (
    BEAM,
    SOUNDS,
    Normalizing,
    Other,
    Output,
    Protocol,
    Report,
    Seed,
    SkipExisting,
    Sounds,
    Split,
    Trials,
    Worst,
    refuse_decided,
    refuse_wrong,
    refuse_wrong_report,
)
from w2v2cli.commands.evaluation.protocol import paper_protocol
from w2v2cli.commands.flags import Data, takes
from w2v2cli.commands.reporting import counting, fetching, hearing, note, warn
from w2v2cli.console import complain, say
from w2v2cli.errors import UsageError, UserError
from w2v2cli.progress import UTTERANCES
from w2v2cli.recognition.options import TESTING, DecodingOptions, without_effect_written
from w2v2cli.recognition.writing.formats import json_text

if TYPE_CHECKING:
    from lm.text.normalizers import NormalizerName
    from w2v2cli.data.corpora.catalogue import CorpusSplit
    from w2v2cli.recognition.evaluating import Evaluated
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.scoring.comparing import Beside, Compared


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
    report: Report = None,
    sounds: Sounds = SOUNDS,
    other: Other = None,
    protocol: Protocol = None,
    trials: Trials = None,
) -> None:
    """Transcribe a corpus and count the errors: WER, CER, by speaker, and the worst utterances.

    LibriSpeech is looked for in --data, $W2V2_DATA and the current folder. Without it a miniature
    that ships with w2v2 is evaluated, and every report says so. Intervals are 95% bootstraps over
    utterances. --report writes a page to look at and to listen to.

    Several processes share the corpus: torchrun --nproc-per-node 2 --no-python w2v2 eval ...
    """
    if protocol is not None:
        refuse_decided(split, output, normalizer, report, other)
        paper_protocol(options, data, trials, seed, as_json)
        return
    if trials is not None:
        raise UsageError("--trials goes with --protocol paper: tune-lm tunes without it.")
    refuse_wrong(options, split, data, output, skip_existing)
    refuse_wrong_report(report, sounds, output, [data, options.lexicon, options.hotwords, other])
    settings = _resolved(options)
    corpora = _corpora(split, data)
    beside = None if other is None else _read_beside(other, corpora)
    done = _evaluated(settings, corpora, output, skip_existing, normalizer)
    if done is None:  # the first rank reports
        return
    found = _compared(done, beside, settings, seed)
    _print(done, settings, found, as_json, worst, seed)
    if report is not None and done.shortfall is None:
        _write_report(report, done, corpora, settings, normalizer, found, sounds, seed)
    _tell_failures(done)


def _corpora(split: str | None, data: Path | None) -> list[CorpusSplit]:
    """The corpora, with their notes on stderr."""
    from w2v2cli.data.corpora.catalogue import find_splits

    corpora = find_splits(split, data)
    for corpus in corpora:
        if corpus.note:
            note(f"Note: {corpus.note}")
    return corpora


def _read_beside(other: Path, corpora: Sequence[CorpusSplit]) -> Beside:
    from w2v2cli.recognition.scoring.comparing import Beside

    return Beside.read(other, {part.name: [u.id for u in part.utterances] for part in corpora})


def _compared(
    done: Evaluated, beside: Beside | None, settings: RecognitionOptions, seed: int
) -> list[Compared]:
    from w2v2cli.recognition.scoring.comparing import compared

    return compared(done.evaluations, beside, settings.model.title, seed)


def _evaluated(
    settings: RecognitionOptions,
    corpora: Sequence[CorpusSplit],
    output: Path | None,
    skip_existing: bool,
    normalizer: NormalizerName | None,
) -> Evaluated | None:
    """Evaluate, with the progress on stderr."""
    from w2v2cli.recognition.evaluating import evaluate_corpora

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
        settings = resolve(options, TESTING, note=note, on_fetch=on_fetch)
    for line in without_effect_written(options, settings.engine, "a table of errors"):
        note(line)
    return settings


def _print(
    done: Evaluated,
    settings: RecognitionOptions,
    compared: Sequence[Compared],
    as_json: bool,
    worst: int,
    seed: int,
) -> None:
    """Print the errors, unless some are missing."""
    from w2v2cli.recognition.scoring.report import json_report, print_report

    if done.shortfall is not None:
        return
    if as_json:
        report = json_report(done.evaluations, settings, seed)
        if compared:
            report["differences"] = [
                {"data": one.corpus, **one.difference.to_json()} for one in compared
            ]
        sys.stdout.write(json_text(report, indent=2))
        return
    print_report(done.evaluations, settings, worst, seed)
    for one in compared:
        typer.echo(f"{one.corpus}: {one.difference.sentence()}")


def _write_report(
    report: Path,
    done: Evaluated,
    corpora: Sequence[CorpusSplit],
    settings: RecognitionOptions,
    normalizer: NormalizerName | None,
    compared: Sequence[Compared],
    sounds: int,
    seed: int,
) -> None:
    """Write the page, with the progress on stderr."""
    from w2v2cli.recognition.pages.reporting import write_report

    with counting("Listening again", UTTERANCES) as on_progress:
        write_report(
            report,
            done.evaluations,
            corpora,
            settings,
            normalizer=normalizer,
            compared=compared,
            sounds=sounds,
            seed=seed,
            on_progress=on_progress,
        )
    say(f"The report is {report}.")


def _tell_failures(done: Evaluated) -> None:
    """Name what is not counted; UserError when something is not."""
    failed = [failure for result in done.evaluations for failure in result.failures]
    if failed:
        complain("\n".join(f"{failure.id}: {failure.error}" for failure in failed))
    if done.shortfall is not None:
        raise UserError(done.shortfall)
    if failed:
        total = len(failed) + sum(len(result.utterances) for result in done.evaluations)
        raise UserError(
            f"{len(failed)} of {total} utterances could not be transcribed and are not counted "
            "(see above)."
        )
