import math

import pytest
import torch

from models.config import PRESETS
from w2v2cli.training.runs import dry_run as module
from w2v2cli.training.runs.device_speed import training_flops
from w2v2cli.training.runs.finetune import finetuning_dry_run
from w2v2cli.training.runs.pretrain import pretraining_dry_run


@pytest.fixture
def fifty_teraflops(monkeypatch):
    monkeypatch.setattr(module, "training_flops", lambda *_: 50e12)


def hours(plan):
    number, unit = dict(plan.rows)["time"].split()[:2]
    return float(number) * {"s": 1 / 3600, "min": 1 / 60, "h": 1, "days": 24}[unit]


def speed(plan):
    return float(dict(plan.rows)["time"].split(" at ")[1].split()[0])


def test_the_time_follows_the_operations_of_the_network_and_of_the_device(fifty_teraflops):
    """At the 50 TFLOP/s that an A100's published 1 180 x real time with BASE come to."""
    base = pretraining_dry_run(recipe="base-960")
    large = pretraining_dry_run(recipe="large-lv60k")
    assert speed(base) == pytest.approx(1100, rel=0.1)
    assert speed(large) == pytest.approx(speed(base) / 2.67, rel=0.05)
    assert hours(base) == pytest.approx(400_000 * 66 * 87.5 / speed(base) / 3600, rel=0.01)
    assert "(measured on cpu), without validations" in dict(base.rows)["time"]


def test_a_given_speed_is_that_of_the_recipe_and_the_first_phase_is_faster():
    plans = [
        finetuning_dry_run(
            model="tiny-config",
            recipe="base-10h",
            settings={"schedule.updates": 1000, "head_only_updates": alone},
            speed=100.0,
        )
        for alone in (0, 500)
    ]
    assert all(speed(plan) == 100 and "(--speed)" in dict(plan.rows)["time"] for plan in plans)
    assert 0.5 * hours(plans[0]) < hours(plans[1]) < 0.9 * hours(plans[0])


def test_a_device_is_timed_by_a_piece_of_the_network():
    reached = training_flops(PRESETS["tiny"](), torch.device("cpu"), "fp32")
    assert 0 < reached < math.inf
