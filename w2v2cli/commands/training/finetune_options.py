"""The options of `w2v2 finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from w2v2cli.commands.training.audio_options import AudioTrainingFlags
from w2v2cli.help import Help

TEXT = "Text"  # heading of --help


@dataclass(frozen=True)
class _Finetuning:
    model: Annotated[
        str,
        Help(
            "Model to start from: a name, a repository of the Hugging Face hub (org/name), a "
            "folder or a file. Or random weights: base-config, demo-config, ..."
        ),
    ] = "demo-config"
    recipe: Annotated[
        str,
        Help(
            "Settings by name: base- or large- with 10m, 1h, 10h, 100h or 960h (fairseq's), the "
            "same after paper- (the paper's table), timit (LARGE), timit-base, ablation (after "
            "`w2v2 pretrain --recipe ablation-ROW`), scratch, demo; --recipes lists them.",
            metavar="NAME",
        ),
    ] = "demo"
    valid: Annotated[
        str | None,
        Help(
            "Corpus to validate on, or several (dev-clean+dev-other). Default: dev-other for "
            "LibriSpeech and Libri-light, else a tenth of the corpora, by speaker where speakers "
            "are known."
        ),
    ] = None
    lm: Annotated[
        str,
        Help(
            "Validate with this language model too: 4gram (LibriSpeech's, for English "
            "transcripts) or a file (beam 50, weights 2 and -1, as in the paper)."
        ),
    ] = "none"
    lexicon: Annotated[Path | None, Help("Lexicon for --lm (see `w2v2 transcribe --help`).")] = None
    seeds: Annotated[
        int,
        Help("Train N times with different seeds and keep the best by validation (paper: 3)."),
    ] = 1
    alphabet: Annotated[
        str | None,
        Help(
            "Characters of the output layer: auto (those of the transcripts; the published English "
            "symbols where the letters are among A to Z), english, checkpoint (those of --model), "
            "or a file with a symbol on each line. Default: auto.",
            TEXT,
            metavar="NAME",
        ),
    ] = None
    normalizer: Annotated[
        Literal["auto", "english", "basic", "none"] | None,
        Help(
            "How transcripts are spelled: english (A to Z, numbers in words), basic (any language: "
            "Unicode NFC, one case, no punctuation) or none. Default: english for the English "
            "alphabet, else basic.",
            TEXT,
        ),
    ] = None
    case: Annotated[
        Literal["auto", "upper", "lower", "keep"] | None,
        Help("Case of the letters. Default: that of the alphabet, else lower.", TEXT),
    ] = None
    language: Annotated[
        str | None,
        Help(
            "Language of the transcripts; tr and az (Turkish, Azeri) tell i from ı in both cases. "
            "A model with an adapter for each language (MMS) starts from this one's: tur, rus, ...",
            TEXT,
            metavar="TAG",
        ),
    ] = None
    peak_lr: Annotated[
        list[float] | None,
        Help(
            "Peak learning rate; of several (`--peak-lr 2e-5 3e-5`) the best is kept. "
            "Default: the recipe's.",
            metavar="RATE...",
        ),
    ] = None


@dataclass(frozen=True)
class FinetuneFlags(AudioTrainingFlags, _Finetuning):
    """The options of `w2v2 finetune`, in the order of its help."""

    def _more(self) -> dict[str, Any]:
        text = {
            "alphabet": self.alphabet,
            "normalizer": self.normalizer,
            "case": self.case,
            "language": self.language,
        }
        return super()._more() | text
