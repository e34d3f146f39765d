import random

import pytest

from w2v2cli.data.batching import batches_by_length

LENGTHS = [random.Random(0).randint(1, 1000) for _ in range(500)]


@pytest.mark.parametrize("seed", [None, 1])
def test_every_utterance_once_within_the_budget(seed):
    batches = batches_by_length(LENGTHS, 3000, seed=seed)
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or max(LENGTHS[i] for i in batch) * len(batch) <= 3000


def test_padding_stays_small():
    for seed in (None, 1):
        batches = batches_by_length(LENGTHS, 5000, seed=seed)
        padded = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches)
        assert sum(LENGTHS) / padded > 0.85


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = [
        batches_by_length(LENGTHS, 3000, seed=s, epoch=e)
        for s, e in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3]


def test_one_too_long_stands_alone_and_nothing_gives_nothing():
    assert batches_by_length([10, 5000, 10], 100) == [[1], [0, 2]]
    assert batches_by_length([], 100) == []
    with pytest.raises(ValueError, match="at least 1 sample, got 0"):
        batches_by_length([1], 0)
