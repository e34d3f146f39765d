"""The options of `w2v2 eval` beside those of the search, and which go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.errors import UsageError, refuse_overwriting
from w2v2cli.recognition.options import TESTING, DecodingOptions

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
        help="Write reference, hypothesis and errors of each utterance to this .jsonl file."
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
Trials = Annotated[
    int | None, typer.Option(help="Pairs of weights that --protocol tries. Default: 128.")
]


def refuse_decided(split: str | None, output: Path | None, normalizer: str | None) -> None:
    """Raise UsageError for options that --protocol paper decides on itself."""
    decided = {"--split": split, "--output": output, "--normalizer": normalizer}
    for flag, value in decided.items():
        if value is not None:
            raise UsageError(f"--protocol paper decides on {flag} itself: leave it out.")


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
    read = [data, options.lexicon, options.hotwords, Path(options.model), Path(options.lm)]
    refuse_overwriting("--output", output, read)
    if split is None and data is None:
        raise UsageError("Name a --split of LibriSpeech, or a corpus by --data.")
    if skip_existing and output is None:
        raise UsageError("--skip-existing looks for utterances in --output: name a file.")
