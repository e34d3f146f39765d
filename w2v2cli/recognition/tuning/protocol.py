"""`w2v2 eval --protocol paper`: weights tuned on dev-other, error rates of the four splits, a row for each language model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError

if TYPE_CHECKING:
    from w2v2cli.recognition.resolving import RecognitionOptions
    from w2v2cli.recognition.scoring.results import Evaluation
    from w2v2cli.recognition.tuning.trials import Outcome

Evaluate = Callable[["RecognitionOptions"], "tuple[list[Evaluation], str | None] | None"]
# Hypotheses kept in tuning and in the test (appendix B).
BEAMS = {"arpa": (500, 1500), "kenlm": (500, 1500), "transformer": (50, 500)}
TUNED_ON = "dev-other"


@dataclass(frozen=True)
class Row:
    """One language model."""

    settings: RecognitionOptions
    """With which the splits were evaluated."""
    outcome: Outcome | None
    """Of the tuning; None without a language model."""
    results: list[Evaluation]
    """In the order of the splits."""


def language_models(lm: str) -> list[str]:
    """The rows of the table, by --lm: the paper's up to the one named, or none and a file."""
    names = ["none", "4gram", "transformer"]
    return names[: names.index(lm) + 1] if lm in names else ["none", lm]


def run_protocol(
    rows: Sequence[RecognitionOptions],
    data: Path | None,
    trials: int,
    seed: int,
    evaluate: Evaluate,
    as_json: bool,
) -> None:
    """Tune, evaluate and print. UsageError under torchrun; UserError when a split could not be evaluated whole."""
    from w2v2cli.processes import Ranks

    if Ranks.from_environment().several:
        raise UsageError("--protocol paper runs in one process: leave out torchrun.")
    done = [_row(settings, data, trials, seed, evaluate) for settings in rows]
    if as_json:
        sys.stdout.write(json.dumps(_json(done, trials, seed), indent=2, ensure_ascii=False) + "\n")
    else:
        _print(done)


def _row(
    settings: RecognitionOptions, data: Path | None, trials: int, seed: int, evaluate: Evaluate
) -> Row:
    outcome = None
    if settings.lm.path is not None:
        tuning, testing = BEAMS[settings.lm.kind]
        outcome = _tuned(
            replace(settings, beam=replace(settings.beam, width=tuning)), data, trials, seed
        )
        settings = replace(
            settings, beam=replace(settings.beam, width=testing), weights=outcome.weights
        )
    say(f"Evaluating the four splits, LM {settings.lm.name}.")
    finished = evaluate(settings)
    assert finished is not None  # the only rank is the first
    results, trouble = finished
    failed = sum(len(result.failures) for result in results)
    if trouble is not None or failed:
        raise UserError(
            trouble
            or f"{failed} utterances could not be transcribed: w2v2 eval --split all names them."
        )
    return Row(settings, outcome, results)


def _tuned(settings: RecognitionOptions, data: Path | None, trials: int, seed: int) -> Outcome:
    """What tune-lm would find, kept where it would keep it; a study that is there already is not done again."""
    from lm.weights.proposals import TuningError
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.recognition.tuning.kept import keep_tuned
    from w2v2cli.recognition.tuning.report import json_report
    from w2v2cli.recognition.tuning.session import tune_corpus
    from w2v2cli.recognition.tuning.trials import TuningOptions

    try:
        options = TuningOptions(trials, seed=seed)
    except TuningError as error:
        raise UsageError(str(error)) from None
    [part] = find_splits(TUNED_ON, data)
    say(
        f"Tuning on {part.name}, LM {settings.lm.name}, beam {settings.beam.width}, {trials} trials."
    )
    with progress("Tuning") as advance:
        warn = lambda sentence: say(f"Warning: {sentence}")  # noqa: E731
        outcome = tune_corpus(settings, part, options, warn=warn, advance=advance).outcome
    report = json_report(outcome, "wer") | {
        "data": part.name,
        "note": part.note,
        "beam": settings.beam.width,
    }
    keep_tuned(settings.model, settings.lm, outcome.weights, report)
    return outcome


def _json(rows: Sequence[Row], trials: int, seed: int) -> dict[str, Any]:
    from w2v2cli.recognition.scoring.report import json_report

    return {
        "protocol": "paper",
        "model": rows[0].settings.model.name,
        "tuned_on": TUNED_ON,
        "trials": trials,
        "rows": [
            {
                **json_report(row.results, row.settings, seed),
                "tuned_wer": None if row.outcome is None else row.outcome.best.rate,
                "tuned_wer_interval_95": None
                if row.outcome is None
                else list(row.outcome.interval),
            }
            for row in rows
        ],
    }


def _print(rows: Sequence[Row]) -> None:
    """The table of the paper's appendix, with the weights that tuning found."""
    from rich.console import Console
    from rich.table import Table

    from w2v2cli.recognition.scoring.report import PIPE_WIDTH

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(title=f"{rows[0].settings.model.name}: WER %, weights tuned on {TUNED_ON}")
    table.add_column("LM")
    for column in (
        "beam",
        "LM weight",
        "word score",
        *(_name(result) for result in rows[0].results),
    ):
        table.add_column(column, justify="right")
    for row in rows:
        weights = row.settings.weights
        searched = [""] * 3
        if row.outcome is not None:
            searched = [
                str(row.settings.beam.width),
                f"{weights.lm_weight:.2f}",
                f"{weights.word_score:.2f}",
            ]
        table.add_row(
            row.settings.lm.name,
            *searched,
            *(f"{result.words.rate:.2%}"[:-1] for result in row.results),
        )
    console.print(table)
    notes = [f"* {result.note}" for result in rows[0].results if result.note]
    for note in dict.fromkeys(notes):
        console.print(note)


def _name(result: Evaluation) -> str:
    return result.name + ("*" if result.note else "")
