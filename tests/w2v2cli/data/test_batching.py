import random

import pytest

from w2v2cli.data.batching import batches_by_length

LENGTHS = [random.Random(0).randint(1, 1000) for _ in range(500)]


def test_every_utterance_once_within_the_budget():
    batches = batches_by_length(LENGTHS, 3000)
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or max(LENGTHS[i] for i in batch) * len(batch) <= 3000


def test_padding_stays_small():
    batches = batches_by_length(LENGTHS, 5000)
    padded = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches)
    assert sum(LENGTHS) / padded > 0.85


def test_the_longest_come_first():
    order = [LENGTHS[i] for batch in batches_by_length(LENGTHS, 3000) for i in batch]
    assert order == sorted(LENGTHS, reverse=True)


def test_one_too_long_stands_alone_and_nothing_gives_nothing():
    assert batches_by_length([10, 5000, 10], 100) == [[1], [0, 2]]
    assert batches_by_length([], 100) == []
    with pytest.raises(ValueError, match="at least 1 sample, got 0"):
        batches_by_length([1], 0)
