"""What a user can ask of tuning. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from w2v2cli.errors import UsageError
from w2v2cli.help import Help

if TYPE_CHECKING:
    from lm.weights.proposals import Bounds

BOUNDS = "Bounds"  # heading of --help
ALPHA = 0.05  # probability that any race of a study stops a point as good as its rival
SHARE = 0.1  # largest share of the searches that all trials in full would take


@dataclass(frozen=True)
class TuningOptions:
    """Which weights are tried, and how much may be searched.

    The numbers of trials and the bounds are the paper's (appendix B). Raises UsageError.
    """

    trials: Annotated[int, Help("Pairs of weights to try.")] = 128
    lm_weight: Annotated[
        tuple[float, float], Help("LM weights to try.", BOUNDS, metavar="LOW HIGH")
    ] = (0.0, 5.0)
    word_score: Annotated[
        tuple[float, float], Help("Word scores to try.", BOUNDS, metavar="LOW HIGH")
    ] = (-5.0, 5.0)
    sil_score: Annotated[
        tuple[float, float] | None,
        Help(
            "Scores of boundary frames to try. Default: 0, not tuned.", BOUNDS, metavar="LOW HIGH"
        ),
    ] = None
    exact: Annotated[
        bool,
        Help("Search the whole corpus in every trial: ten times the work.", flag="--exact"),
    ] = False
    seed: Annotated[int, Help("Random seed: with the same one the same weights are tried.")] = 0
    share: float = SHARE
    """Largest share of the searches that all trials in full would take."""
    alpha: float = ALPHA
    """Probability that any race of the study stops a point as good as its rival."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials must be at least 1, got {self.trials}.")
        if self.seed < 0:
            raise UsageError(f"--seed cannot be negative, got {self.seed}.")
        if not 0 < self.share <= 1:
            raise UsageError(f"--share must lie above 0 and be at most 1, got {self.share:g}.")
        _ = self.bounds  # refuses a wrong call before any download

    @cached_property
    def bounds(self) -> Bounds:
        """The box of weights that is searched."""
        from lm.weights.proposals import Bounds, TuningError

        try:
            return Bounds(self.lm_weight, self.word_score, self.sil_score)
        except TuningError as error:
            raise UsageError(str(error)) from None
