"""The table of the paper's protocol, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from w2v2cli.console import stdout_console
from w2v2cli.recognition.scoring.report import json_report
from w2v2cli.recognition.scoring.results import Evaluation
from w2v2cli.recognition.tuning.protocol import ProtocolRow
from w2v2cli.recognition.tuning.session import TUNED_ON


def protocol_json(rows: Sequence[ProtocolRow], trials: int, seed: int) -> dict[str, Any]:
    """The settings and errors of each row; rates are ratios.

    seed: of the bootstrap.
    """
    return {
        "protocol": "paper",
        "model": rows[0].settings.model.title,
        "tuned_on": TUNED_ON,
        "trials": trials,
        "rows": [
            {
                **json_report(row.results, row.settings, seed),
                "tuned_wer": row.tuning and row.tuning.rate,
                "tuned_wer_interval_95": row.tuning and list(row.tuning.interval),
            }
            for row in rows
        ],
    }


def print_protocol(rows: Sequence[ProtocolRow]) -> None:
    """Print the table of the paper's appendix on stdout, with the tuned weights."""
    console = stdout_console()
    table = Table(title=f"{rows[0].settings.model.title}: WER %, weights tuned on {TUNED_ON}")
    table.add_column("LM")
    splits = [_name(result) for result in rows[0].results]
    for column in ("beam", "LM weight", "word score", *splits):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.settings.lm.name,
            *_search(row),
            *(f"{result.words.rate:.2%}"[:-1] for result in row.results),
        )
    console.print(table)
    notes = [f"* {result.note}" for result in rows[0].results if result.note]
    for note in dict.fromkeys(notes):
        console.print(note)


def _search(row: ProtocolRow) -> list[str]:
    if row.tuning is None:
        return ["", "", ""]
    weights = row.settings.weights
    return [
        str(row.settings.beam.width),
        f"{weights.lm_weight:.2f}",
        f"{weights.word_score:.2f}",
    ]


def _name(result: Evaluation) -> str:
    return result.name + ("*" if result.note else "")
