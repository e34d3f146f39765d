"""Whether tuned weights are better than those before tuning, by more than chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lm.decoding import DecodingWeights
from lm.weights.proposals import Bounds, Point
from storage.json_text import parsed
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.error_rate import paired_interval
from w2v2cli.recognition.tuning.published import untuned_weights
from w2v2cli.recognition.writing.output import write_file

NAME = "untuned.json"  # in a study's folder: the errors with the weights before tuning
EDGE = 0.02  # share of a side of the bounds within which an optimum is at its end
FLAGS = ("--lm-weight", "--word-score", "--sil-score")


@dataclass(frozen=True)
class Gain:
    """What tuning gained over the weights that count without it; rates are ratios."""

    weights: DecodingWeights
    """The weights before tuning."""
    rate: float
    """The error rate with them."""
    interval: tuple[float, float]
    """95% interval of that rate minus the rate of the tuned weights, by a paired bootstrap."""

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes that there is no gain."""
        return self.interval[0] > 0


def measure_gain(
    settings: RecognitionOptions,
    best: DecodingWeights,
    lengths: Sequence[int],
    errors_with: Callable[[DecodingWeights], list[int]],
    study: Path,
    seed: int,
) -> Gain:
    """Compare the best weights with those before tuning, utterance by utterance.

    lengths: of each reference. errors_with: the errors of each utterance with given weights.
    study: folder that keeps the errors before tuning, so that they are searched for once.
    """
    tuned = settings.lm if settings.rescore is None else settings.rescore.lm
    before = untuned_weights(settings.model, tuned).weights
    kept = study / NAME
    errors = _read(kept, before, len(lengths))
    if errors is None:
        errors = errors_with(before)
        write_file(kept, json.dumps({"weights": _plain(before), "errors": errors}))
    interval = paired_interval(errors, errors_with(best), lengths, seed)
    return Gain(before, sum(errors) / sum(lengths), interval)


def edges(point: Point, bounds: Bounds) -> list[str]:
    """A sentence for each coordinate of an optimum that lies at an end of what was tried."""
    lines = []
    for flag, value, (low, high) in zip(FLAGS, point, bounds.sides, strict=False):
        if min(value - low, high - value) > EDGE * (high - low):
            continue
        what = f"The optimum's {flag} {value:g} lies at the end of what was tried, {low:g} to "
        if flag == "--lm-weight" and low == 0 and value - low < high - value:
            lines.append(f"{what}{high:g}: the language model hardly helps here.")
        else:
            lines.append(f"{what}{high:g}: better weights may lie beyond ({flag} LOW HIGH).")
    return lines


def _plain(weights: DecodingWeights) -> list[str]:
    return [
        f"{value:g}"
        for value in (
            weights.lm_weight, weights.word_score, weights.unk_score, weights.sil_score
        )
    ]  # fmt: skip


def _read(path: Path, weights: DecodingWeights, utterances: int) -> list[int] | None:
    """The errors in the file, if it holds those with these weights."""
    try:
        found = parsed(path.read_text(encoding="utf-8"))
        errors = found["errors"]
        if found["weights"] != _plain(weights) or len(errors) != utterances:
            return None
        return [int(each) for each in errors]
    except (OSError, ValueError, KeyError, TypeError):
        return None
