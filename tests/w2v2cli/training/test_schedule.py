from dataclasses import replace
from math import exp, log

import pytest

from w2v2cli.errors import UsageError
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.schedule import TriStage

SCHEDULE = TriStage(
    peak=1e-3, updates=1000, warmup=0.1, constant=0.4, first_scale=0.01, final_scale=0.05
)


@pytest.mark.parametrize(
    ("update", "rate"),
    [
        (0, 1e-5),
        (50, 5.05e-4),
        (100, 1e-3),
        (499, 1e-3),
        (750, 5.25e-4),
        (1000, 5e-5),
        (2000, 5e-5),
    ],
)
def test_three_stages(update, rate):
    assert SCHEDULE.rate(update) == pytest.approx(rate)


def test_no_warm_up_starts_at_the_peak():
    assert TriStage(peak=1.0, updates=10, warmup=0.0).rate(0) == 1.0


def tri_stage(update, peak, updates):
    """The rate as fairseq's `tri_stage` computes it for phases of 10%, 40% and 50%.

    From the formula in its documentation: a step of the warm-up adds (peak - first) / steps, and
    step i of the decay has peak · exp(i · ln(final_lr_scale) / steps).
    """
    rise, hold = updates // 10, updates * 4 // 10
    fall = updates - rise - hold
    if update < rise:
        return 0.01 * peak + (peak - 0.01 * peak) / rise * update
    if update < rise + hold:
        return peak
    if update <= updates:
        return peak * exp(log(0.05) / fall * (update - rise - hold))
    return 0.05 * peak


REFERENCE = [name for name in FINETUNING if name.startswith(("base-", "large-"))]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("name", REFERENCE)
def test_the_rows_of_the_reference_fall_exponentially(name, share):
    schedule = FINETUNING[name]().schedule
    update = int(share * schedule.updates)
    expected = tri_stage(update, schedule.peak, schedule.updates)
    assert schedule.rate(update) == pytest.approx(expected, rel=1e-12)


# base-10h: peak 5e-5, 20 000 updates. The figures are the formulas', worked out by hand.
@pytest.mark.parametrize(
    ("update", "reference", "paper"),
    [
        (0, 0.01, 0.01),
        (1_000, 0.505, 0.505),
        (10_000, 1.0, 1.0),
        (15_000, 0.05**0.5, 0.525),
        (17_500, 0.05**0.75, 0.2875),
        (20_000, 0.05, 0.05),
    ],
)
def test_reference_and_paper_differ_in_the_decay_alone(update, reference, paper):
    rates = {name: FINETUNING[name]().schedule for name in ("base-10h", "paper-base-10h")}
    shares = [schedule.rate(update) / schedule.peak for schedule in rates.values()]
    assert shares == pytest.approx([reference, paper], rel=1e-12)


def test_every_row_of_the_paper_falls_linearly():
    for name, recipe in FINETUNING.items():
        if name.startswith("paper-"):
            schedule = recipe().schedule
            at = int(0.8 * schedule.updates)
            share = 1 - (1 - 0.05) * (at - 0.5 * schedule.updates) / (0.5 * schedule.updates)
            assert schedule.rate(at) == pytest.approx(share * schedule.peak, rel=1e-12), name


def test_the_description_says_how_the_rate_falls():
    assert "falls linearly to 5e-05" in SCHEDULE.described()
    assert "falls exponentially to 5e-05" in replace(SCHEDULE, decay="exponential").described()


def test_an_exponential_decay_to_zero_is_refused():
    with pytest.raises(ValueError, match="ends above 0, got final_scale 0"):
        TriStage(1e-3, 10, final_scale=0.0, decay="exponential")
    with pytest.raises(UsageError, match="it takes linear, exponential"):
        changed(FINETUNING["base-10h"](), {"schedule.decay": "cosine"})
