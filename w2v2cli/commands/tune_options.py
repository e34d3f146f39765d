"""The options of `w2v2 tune-lm` beside those of the search and of the trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.recognition.options import TUNING

# The weights that are tuned, and options that do not change them.
NOT_OFFERED = (
    "lm_weight",
    "word_score",
    "unk_score",
    "sil_score",
    "hotwords",
    "hotwords_floor",
    "lattice_beam",
    "posterior_scale",
    "mbr",
    "mbr_scale",
    "rescore_over",
    "rescore_lm_weight",
    "rescore_word_score",
    "nbest",
)
BEAM = (
    "Hypotheses kept after each frame: more is slower, with fewer errors. "
    f"Default: {TUNING.ngram}, with a Transformer {TUNING.transformer}."
)
Split = Annotated[
    str | None,
    typer.Option(
        help="LibriSpeech split to tune on; not with a corpus of your own in --data. "
        "Default: dev-other.",
    ),
]
Forget = Annotated[
    bool,
    typer.Option(
        "--forget",
        help="Remove the weights that are stored for this model and LM, and tune nothing.",
    ),
]
Metric = Annotated[
    Literal["wer", "cer", "per"] | None,
    typer.Option(
        help="Error rate to lower: of words, characters or phones. Default: cer where the "
        "references are in a script without spaces, else wer."
    ),
]
Study = Annotated[
    Path | None,
    typer.Option(help="Folder for the trials. Default: one in $W2V2_HOME/studies."),
]
