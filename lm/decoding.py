"""How a search scores hypotheses, and how many it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Recombine = Literal["state", "history"]
FLOOR = -5.0  # log10 of the least probability of a hot word that a language model lacks
POSTERIOR_SCALE = 0.3  # calibrated on real recordings (docs/benchmarks.md)
LATTICE_BEAM = 15.0
MBR_SCALE = 0.8  # the fewest errors on the development recordings that ship


@dataclass(frozen=True)
class DecodingWeights:
    """The weights of the score that a search maximises:

    acoustic + lm_weight * LM + second_lm_weight * second LM + word_score * words
    + unk_score * unknown words + sil_score * boundary frames

    The defaults are the paper's before tuning (section 4.4: LM weight 2, word insertion -1). A
    search without a lexicon counts no words: it leaves out `word_score` and `unk_score`.
    """

    lm_weight: float = 2.0
    word_score: float = -1.0
    unk_score: float = -math.inf
    """Added for each word outside the lexicon, in place of `word_score`; -inf forbids them."""
    sil_score: float = 0.0
    """Added for each frame of the path whose symbol is the word boundary."""
    second_lm_weight: float = 0.0
    """Of another language model in the same search; negative to subtract it."""

    @property
    def second_ratio(self) -> float:
        """The second language model's weight where that of the first is 1."""
        return self.second_lm_weight / self.lm_weight if self.second_lm_weight else 0.0

    def __post_init__(self) -> None:
        for flag, value in (
            ("--lm-weight", self.lm_weight),
            ("--word-score", self.word_score),
            ("--sil-score", self.sil_score),
            ("--lm-weight", self.second_lm_weight),
        ):
            if not math.isfinite(value):
                raise ValueError(f"{flag} must be a finite number, got {value}.")
        if self.lm_weight < 0:
            raise ValueError(f"--lm-weight must be 0 or more, got {self.lm_weight:g}.")
        if self.second_lm_weight and not self.lm_weight > 0:
            raise ValueError(
                "--lm-weight must be above 0 for the first of two language models, got "
                f"{self.lm_weight:g}: name the other one first, or that one alone."
            )
        if math.isnan(self.unk_score) or self.unk_score == math.inf:
            raise ValueError(
                "--unk-score must be a number, or -inf to forbid unknown words; "
                f"got {self.unk_score}."
            )


@dataclass(frozen=True)
class BeamOptions:
    """How many hypotheses a beam search keeps and returns."""

    width: int = 500
    """Hypotheses kept after each frame."""
    tokens: int | None = None
    """Likeliest symbols of a frame that are tried; None tries all."""
    threshold: float = 50.0
    """Largest distance to the best score; hypotheses further below it are dropped."""
    nbest: int = 1
    """Hypotheses returned for each utterance."""
    recombine: Recombine = "state"
    """Which hypotheses count as one, of which the better is kept: `state`, those that the language
    model cannot tell apart from now on; `history`, those of the same words, as flashlight does."""
    lm_context: int | None = None
    """Where the engine asks a language model whose states are histories: hypotheses count as one
    whose last so many words are the same, and the better one keeps its whole history. Lists of
    several hypotheses keep all histories apart. None merges by `recombine`."""
    confidences: bool = False
    """Whether the words' confidences are posteriors over the lattice, where the engine has one."""
    lattice: bool = False
    """Whether the lattice is returned with the hypotheses, where the engine has one."""
    lattice_beam: float = LATTICE_BEAM
    """How far below the best path those of the lattice may be, in the units of the score."""
    posterior_scale: float = POSTERIOR_SCALE
    """What scores are multiplied with before they are the logarithms of posteriors."""
    mbr: bool = False
    """Whether the words with the fewest expected errors over the lattice come first, where the
    engine has one, in place of the best path."""
    mbr_scale: float = MBR_SCALE
    """What scores are multiplied with in these expectations."""
    skip_blank: float | None = None
    """Frames whose blank has this probability or more are blank for all hypotheses, and a run of
    them is one step; None searches every frame."""

    @property
    def keeps_lattice(self) -> bool:
        """Whether the search must keep the ways that lost."""
        return self.confidences or self.lattice or self.mbr

    def __post_init__(self) -> None:
        for flag, value in (
            ("--beam", self.width),
            ("--nbest", self.nbest),
            ("--beam-tokens", self.tokens),
            ("--lm-context", self.lm_context),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{flag} must be at least 1, got {value}.")
        if self.recombine not in get_args(Recombine):
            raise ValueError(
                f"--recombine must be one of {', '.join(get_args(Recombine))}; "
                f"got {self.recombine!r}."
            )
        if self.lm_context is not None and self.recombine == "history":
            raise ValueError(
                "--recombine history merges hypotheses by all of their words, and --lm-context "
                f"by the last {self.lm_context}: leave out one of them."
            )
        if not self.threshold > 0:
            raise ValueError(f"--beam-threshold must be above 0, got {self.threshold:g}.")
        for flag, number in (
            ("--lattice-beam", self.lattice_beam),
            ("--posterior-scale", self.posterior_scale),
            ("--mbr-scale", self.mbr_scale),
        ):
            if not number > 0:
                raise ValueError(f"{flag} must be above 0, got {number:g}.")
        if self.skip_blank is not None and not 0.5 <= self.skip_blank <= 1:
            raise ValueError(f"--skip-blank is a probability of 0.5 to 1, got {self.skip_blank:g}.")
        if self.nbest > self.width:
            raise ValueError(f"--nbest {self.nbest} asks for more than --beam {self.width} keeps.")
