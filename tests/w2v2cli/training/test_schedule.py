import pytest

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
