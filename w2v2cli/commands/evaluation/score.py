"""`w2v2 score`: the errors of texts that are already there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from w2v2cli.commands.evaluation.evaluate_options import Worst
from w2v2cli.console import complain, say
from w2v2cli.errors import UserError, exits
from w2v2cli.recognition.writing.formats import json_text

if TYPE_CHECKING:
    from w2v2cli.recognition.scoring.results import Evaluation


def score(
    reference: Annotated[
        Path, typer.Argument(help="File of what was said.", metavar="REF", show_default=False)
    ],
    hypotheses: Annotated[
        list[Path],
        typer.Argument(help="Files of what was recognised.", metavar="HYP...", show_default=False),
    ],
    normalizer: Annotated[
        Literal["english", "basic", "none"],
        typer.Option(
            help="How both are spelled before they are compared: english (A to Z, numbers in "
            "words), basic (any language: Unicode NFC, one case, no punctuation) or none."
        ),
    ] = "basic",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")
    ] = False,
    worst: Worst = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of intervals and tests.")] = 0,
) -> None:
    """Count the errors of transcripts that any program made, and compare several.

    A file holds JSON lines (of eval --output, of transcribe --format jsonl, of a manifest), trn
    (text and the utterance in parentheses), a table with tabs (utterance, text), or a text a line.
    Intervals are 95% bootstraps over utterances. Each further HYP is compared with the first: the
    difference with its interval, and the p-value of a matched-pairs test.

    Examples:

      w2v2 score ref.txt hyp.txt

      w2v2 score run.jsonl run.jsonl other.jsonl
    """
    with exits():
        from lm.text.normalizers import Normalizer
        from w2v2cli.recognition.scoring.comparing import differences, score_texts
        from w2v2cli.recognition.scoring.report import print_tables
        from w2v2cli.recognition.scoring.texts import read_texts

        spoken = read_texts(reference, "reference")
        how = Normalizer.named(normalizer)
        results = [score_texts(spoken, read_texts(h, "hypothesis"), how, say) for h in hypotheses]
        if as_json:
            _print_json(reference, results, seed)
        else:
            title = f"{reference}, normaliser {how}"
            print_tables(results, title, worst, seed, named=len(results) > 1)
            for difference in differences(results, seed):
                typer.echo(difference.sentence())
        failures = [failure for result in results for failure in result.failures]
        if failures:
            complain("\n".join(f"{failure.id}: {failure.error}" for failure in failures))
            total = len(spoken.by_name) * len(results)
            raise UserError(f"{len(failures)} of {total} utterances are not counted (see above).")


def _print_json(reference: Path, results: Sequence[Evaluation], seed: int) -> None:
    from w2v2cli.recognition.scoring.comparing import differences
    from w2v2cli.recognition.scoring.report import json_results

    report = {
        "reference": str(reference),
        "results": json_results(results, seed),
        "differences": [difference.to_json() for difference in differences(results, seed)],
    }
    sys.stdout.write(json_text(report, indent=2))
