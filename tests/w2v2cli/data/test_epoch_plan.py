"""An epoch's plan: every recording once, within the budget, the same for whoever reads it."""

import hashlib
import pickle
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from w2v2cli.data.epoch_plan import BUCKET, MicroBatch, epoch_plan

LENGTHS = np.random.default_rng(0).integers(8_000, 560_000, 3000)
CROP, BUDGET = 250_000, 1_400_000


def planned(**changes):
    return epoch_plan(
        LENGTHS, **({"budget": BUDGET, "crop": CROP, "seed": 1, "epoch": 0} | changes)
    )


def padded(plan):
    return np.array([max(batch.samples) * len(batch.samples) for batch in plan])


@pytest.mark.parametrize("crop", [None, CROP, 1])
@pytest.mark.parametrize("shards", [None, np.arange(3000) % 37])
def test_every_utterance_once_within_the_budget(crop, shards):
    plan = planned(crop=crop, shards=shards)
    assert sorted(i for batch in plan for i in batch.indices) == list(range(3000))
    assert len(plan) == len(list(plan)) == len(plan[:])
    for batch in plan:
        assert max(batch.samples) * len(batch.samples) <= BUDGET
        for index, start, samples in zip(batch.indices, batch.starts, batch.samples, strict=True):
            assert samples == min(LENGTHS[index], crop or 10**9)
            assert 0 <= start <= LENGTHS[index] - samples


def test_one_longer_than_the_budget_stands_alone():
    plan = planned(crop=None, budget=300_000)
    alone = [batch for batch in plan if max(batch.samples) > 300_000]
    assert {len(batch.indices) for batch in alone} == {1}
    assert len(alone) == (LENGTHS > 300_000).sum()
    assert padded(plan)[[len(batch.indices) > 1 for batch in plan]].max() <= 300_000


def test_padding_is_small_and_the_budget_is_used():
    plan = planned(crop=None)
    assert plan.samples.sum() / padded(plan).sum() > 1 / BUCKET
    assert padded(plan).mean() > 0.8 * BUDGET


def test_equal_rows_need_no_padding():
    plan = planned(equal=True)
    assert all(len(set(batch.samples)) == 1 for batch in plan)
    assert padded(plan).max() <= BUDGET
    assert plan.samples.sum() / np.minimum(LENGTHS, CROP).sum() > 1 / BUCKET
    cropped = LENGTHS[plan.indices] > plan.samples
    assert plan.starts[cropped].any() and not plan.starts[~cropped].any()
    assert (plan.starts.astype(int) + plan.samples <= LENGTHS[plan.indices]).all()


def test_empty_ones_are_left_out():
    assert epoch_plan(np.array([0, 5, 0]), budget=9, crop=None, seed=1, epoch=0)[:] == [
        MicroBatch((1,), (0,), (5,))
    ]
    assert len(epoch_plan(np.zeros(0, int), budget=9, crop=None, seed=1, epoch=0)) == 0


def test_the_plan_is_a_function_of_seed_and_epoch():
    state = np.random.get_state()[1].copy()
    plans = [planned(seed=seed, epoch=epoch)[:] for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2] != plans[3] != plans[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert pickle.loads(pickle.dumps(planned()))[:] == plans[0]


def splitmix64(what, number):
    """Output `number` of the published generator, in plain integers, for seed 7 and epoch 3."""
    key = int.from_bytes(hashlib.blake2b(f"7/3/{what}".encode(), digest_size=8).digest(), "little")
    x = (key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_it_is_the_same_on_every_machine():
    """A run may go on under another Python or numpy, so nothing but the published hash decides."""
    lengths = [300, 120, 500, 90, 260]
    plan = epoch_plan(np.array(lengths), budget=600, crop=200, seed=7, epoch=3)
    order = [i for i in sorted(range(5), key=lambda i: splitmix64("order", i)) if lengths[i] > 200]
    start = {i: int((splitmix64("crop", i) >> 11) / 2**53 * (lengths[i] - 200 + 1)) for i in order}
    batches = [
        MicroBatch(tuple(order), tuple(start[i] for i in order), (200, 200, 200)),
        MicroBatch((1, 3), (0, 0), (120, 90)),
    ]
    assert plan[:] == [batches[i] for i in sorted((0, 1), key=lambda i: splitmix64("batches", i))]


def test_a_crop_is_drawn_from_seed_epoch_and_index_alone():
    def starts(**changes):
        plan = planned(**changes)
        return dict(zip(plan.indices.tolist(), plan.starts.tolist(), strict=True))

    assert starts() == starts(budget=600_000) == starts(shards=np.arange(3000) // 100)
    assert starts() != starts(epoch=1)


def test_crops_are_uniform():
    plan = epoch_plan(np.full(50_000, 1009), budget=10**6, crop=1000, seed=3, epoch=5)
    counts = np.bincount(plan.starts, minlength=10)
    assert counts.size == 10 and np.abs(counts - 5000).max() < 5 * np.sqrt(5000)


def test_neighbours_change_from_epoch_to_epoch():
    def pairs(epoch):
        return {
            pair
            for b in planned(epoch=epoch)
            for pair in zip(b.indices, b.indices[1:], strict=False)
        }

    assert len(pairs(0) & pairs(1)) < 0.02 * len(pairs(0))


def test_shards_are_read_a_few_at_a_time_in_a_drawn_order():
    shards = np.random.default_rng(1).permutation(np.arange(3000) // 60)  # 50 shards
    visits = []
    for epoch in (0, 1):
        plan = planned(shards=shards, window=4, epoch=epoch)
        touched = [set(shards[list(batch.indices)].tolist()) for batch in plan]
        first, last = ([min, max][k] for k in (0, 1))
        at = {s: [i for i, t in enumerate(touched) if s in t] for s in range(50)}
        opened = [(first(a), last(a)) for a in at.values()]
        for place in range(len(plan)):
            assert sum(a <= place <= b for a, b in opened) <= 4
        assert max(len(t) for t in touched) > 1  # shards are mixed
        visits.append(sorted(range(50), key=lambda s: opened[s]))
    assert visits[0] != visits[1] and visits[0] != list(range(50))


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"crop": 0}, {"window": 0}])
def test_what_makes_no_plan(wrong):
    with pytest.raises(ValueError, match="at least 1, got"):
        planned(**wrong)


def test_three_hundred_thousand_take_no_time():
    lengths = np.random.default_rng(0).integers(16_000, 560_000, 300_000)
    began = time.process_time()
    plan = epoch_plan(
        lengths, budget=BUDGET, crop=CROP, seed=1, epoch=0, shards=np.arange(300_000) // 3000
    )
    assert time.process_time() - began < 2
    assert len(pickle.dumps(plan)) < 20 * 300_000


class Crops(Dataset):
    """Where each sample of a recording tells whose it is and where it stands."""

    def __init__(self, plan):
        self.plan = plan

    def __getitem__(self, index):
        batch = self.plan[index]
        rows = [
            torch.arange(s, s + n) + 10**6 * i
            for i, s, n in zip(batch.indices, batch.starts, batch.samples, strict=True)
        ]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_any_number_of_loader_workers_gives_the_same():
    plan = epoch_plan(LENGTHS[:200] // 100, budget=14_000, crop=2500, seed=1, epoch=0)
    mine = range(1, len(plan), 2)
    found = [
        list(
            DataLoader(
                Crops(plan), batch_size=None, sampler=mine, num_workers=n, multiprocessing_context=c
            )
        )
        for n, c in ((0, None), (1, "fork"), (2, "fork"))
    ]
    assert len(found[0]) == len(mine) > 10
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
