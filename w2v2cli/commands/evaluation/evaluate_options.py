"""The options of `w2v2 eval` beside those of the search, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.errors import UsageError, refuse_overwriting
from w2v2cli.recognition.options import TESTING, DecodingOptions

SOUNDS = 20  # of a corpus in a report, where no number is named
BEAM = (
    "Hypotheses kept after each frame: more is slower, with fewer errors. "
    f"Default: {TESTING.ngram}, with a Transformer {TESTING.transformer}."
)
Split = Annotated[
    str | None,
    typer.Option(
        help="LibriSpeech split: dev-clean, dev-other, test-clean, test-other, or all four."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write reference, hypothesis and errors of each utterance to this .jsonl file.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, help="Random seed of the confidence intervals and of --protocol's tuning."),
]
Normalizing = Annotated[
    Literal["english", "basic", "none"] | None,
    typer.Option(
        help="How references and transcripts are spelled before they are compared: english (A to "
        "Z, numbers in words), basic (any language: Unicode NFC, one case, no punctuation) or "
        "none. Default: as the model was trained."
    ),
]
Protocol = Annotated[
    Literal["paper"] | None,
    typer.Option(
        help="paper: tune on dev-other, test on the four splits, and print the paper's table "
        "with a row for each language model up to --lm."
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Skip utterances that --output already has."),
]
Worst = Annotated[
    int, typer.Option(min=0, help="Number of worst utterances shown with their alignment.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write the report to this .html file too: one page with everything in it, error rates "
        "by speaker, length and word frequency, every alignment, and the worst utterances with "
        "their sound and a picture of what the network heard.",
        metavar="FILE",
    ),
]
Sounds = Annotated[
    int,
    typer.Option(
        "--report-audio",
        min=0,
        help="Number of utterances of each corpus, those with the most errors first, whose "
        "recording is in --report. Recordings above 60 s are left out, and at most 24 MB are kept.",
    ),
]
Other = Annotated[
    Path | None,
    typer.Option(
        "--compare",
        help="Compare with another system's transcripts, in a file as w2v2 score takes it (such as "
        "another --output): the difference, its interval and the p-value of a matched-pairs test.",
        metavar="FILE",
    ),
]
Trials = Annotated[
    int | None, typer.Option(help="Pairs of weights that --protocol tries. Default: 128.")
]


def refuse_decided(
    split: str | None,
    output: Path | None,
    normalizer: str | None,
    report: Path | None,
    other: Path | None,
) -> None:
    """Raise UsageError for options that --protocol paper decides on itself."""
    decided = {
        "--split": split,
        "--output": output,
        "--normalizer": normalizer,
        "--report": report,
        "--compare": other,
    }
    for flag, value in decided.items():
        if value is not None:
            raise UsageError(f"--protocol paper decides on {flag} itself: leave it out.")


def refuse_wrong_report(
    report: Path | None,
    sounds: int,
    output: Path | None,
    read: Sequence[Path | None],
) -> None:
    """Raise UsageError for a report that is no file of its own, and for what goes with it only.

    read: files that the call reads.
    """
    if report is None:
        if sounds != SOUNDS:
            raise UsageError("--report-audio goes with --report: name a file.")
        return
    if report.is_dir():
        raise UsageError(f"--report {report} is a folder: name a file.")
    if output is not None and output.resolve() == report.resolve():
        raise UsageError(f"--report and --output both name {report}: name two files.")
    refuse_overwriting("--report", report, read)


def refuse_wrong(
    options: DecodingOptions,
    split: str | None,
    data: Path | None,
    output: Path | None,
    skip_existing: bool,
) -> None:
    """Raise UsageError for an output that is no file of its own, and for what is not named."""
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output} is a folder: name a file.")
    named = map(Path, (options.model, *options.lms))
    read = [data, options.lexicon, options.hotwords, *named]
    refuse_overwriting("--output", output, read)
    if split is None and data is None:
        raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
    if skip_existing and output is None:
        raise UsageError("--skip-existing looks for utterances in --output: name a file.")
