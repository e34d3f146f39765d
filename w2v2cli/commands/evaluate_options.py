"""The options of `w2v2 eval` beside those of the search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.recognition.options import TESTING

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
