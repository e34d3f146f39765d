"""The options of `w2v2 pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from w2v2cli.commands.training.audio_options import AudioTrainingFlags
from w2v2cli.help import Help


@dataclass(frozen=True)
class _Pretraining:
    recipe: Annotated[
        str,
        Help(
            "Settings by name: base-960, large-960, large-lv60k (the paper's models), "
            "large-lv60k-reference (fairseq's settings), base-960-8-heads, small (3 M parameters, "
            "for two CPU cores), ablation (the baseline of the paper's ablations) or "
            "ablation-ROW (a row of its tables 4, 5 and 13; --recipes lists them).",
            metavar="NAME",
        ),
    ] = "base-960"
    valid: Annotated[
        str | None,
        Help(
            "Corpus to validate on, or several (A+B). Default: one recording in a hundred, those "
            "of whole speakers where all are known."
        ),
    ] = None
    model: Annotated[
        str | None,
        Help(
            "Pretrained model to start from: a name, a repository of the Hugging Face hub "
            "(org/name), a folder or a file. Default: random weights."
        ),
    ] = None
    peak_lr: Annotated[float | None, Help("Peak learning rate. Default: the recipe's.")] = None


@dataclass(frozen=True)
class PretrainFlags(AudioTrainingFlags, _Pretraining):
    """The options of `w2v2 pretrain`, in the order of its help."""
