"""`w2v2 eval --protocol paper`: the table of the paper, with a row for each language model."""

from __future__ import annotations

import sys
from pathlib import Path

from w2v2cli.commands.reporting import fetching, warn
from w2v2cli.console import say
from w2v2cli.progress import progress
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.writing.formats import json_text


def paper_protocol(
    options: DecodingOptions, data: Path | None, trials: int | None, seed: int, as_json: bool
) -> None:
    """Run the paper's protocol and print its table."""
    from w2v2cli.recognition.tuning.options import TuningOptions
    from w2v2cli.recognition.tuning.protocol import protocol_settings, run_protocol
    from w2v2cli.recognition.tuning.protocol_report import print_protocol, protocol_json

    tuning = TuningOptions(TuningOptions.trials if trials is None else trials, seed=seed)
    with fetching() as on_fetch:
        settings = protocol_settings(options, tuning, on_fetch)
    with progress("Protocol") as on_progress:
        rows = run_protocol(settings, data, tuning, note=say, warn=warn, on_progress=on_progress)
    if as_json:
        report = protocol_json(rows, tuning.trials, seed)
        sys.stdout.write(json_text(report, indent=2))
    else:
        print_protocol(rows)
