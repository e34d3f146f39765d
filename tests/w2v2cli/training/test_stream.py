from dataclasses import replace

import numpy as np
import pytest
import torch

from w2v2cli import processes
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.processes import Ranks
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.stream import AudioStream, audio_stream


class Counted:
    shards = None
    ids = [f"r{i}" for i in range(60)]
    texts = [None] * 60
    lengths = np.array([1000 + 30 * (i % 11) for i in range(60)])

    def read(self, index, start=0, samples=None):
        return np.full(samples, index, np.float32)


def stream(rank=0, world=1, accumulate=1, workers=0):
    data = TrainingSet(Counted(), np.arange(60))
    return AudioStream(data, Reading(4000, seed=3), rank, world, accumulate, workers)


def ids(steps, count):
    return [[batch.ids for batch in next(steps).batches] for _ in range(count)]


def flat(found):
    return [batch for step in found for batch in step]


def test_ranks_share_the_micro_batches_of_each_update_whatever_their_number():
    one = ids(stream(accumulate=4).steps(Position()), 8)
    two = [ids(stream(rank, 2, 2).steps(Position()), 8) for rank in range(2)]
    four = [ids(stream(rank, 4, 1).steps(Position()), 8) for rank in range(4)]
    for update in range(8):
        expected = sorted(one[update])
        assert sorted(flat(ranks[update] for ranks in two)) == expected
        assert sorted(flat(ranks[update] for ranks in four)) == expected
        assert len(set(flat(ranks[update] for ranks in four))) == 4


def test_every_epoch_is_read_whole_whatever_an_update_takes():
    """Over the border of an epoch as well: here 5 micro-batches an update."""
    epochs = [Reading(4000, seed=3).epoch(stream().data, epoch) for epoch in range(3)]
    expected = [epoch[i].ids for epoch in epochs for i in range(len(epoch))]
    for world, accumulate in ((1, 5), (5, 1)):
        ranks = [ids(stream(rank, world, accumulate).steps(Position()), 9) for rank in range(world)]
        turns = [flat(part) for part in ranks]
        found = [turns[i % world][i // world] for i in range(45)]
        assert found == expected[:45]


def test_an_update_may_take_more_than_an_epoch():
    size = len(Reading(4000, seed=3).epoch(stream().data, 0))
    steps = stream(accumulate=size + 3).steps(Position())
    first, second = next(steps), next(steps)
    assert first.after.epoch == 1 and first.after.batch == 3
    again = next(stream(accumulate=size + 3).steps(first.after))
    assert [b.ids for b in again.batches] == [b.ids for b in second.batches]


def test_a_position_past_the_end_of_an_epoch_begins_the_next_one_to_the_bit():
    """As after a restart with larger micro-batches, of which an epoch has fewer."""
    for world in (1, 2):
        steps = stream(0, world).steps(Position(epoch=0, batch=1001))
        first, second = next(steps), next(steps)
        assert ids(stream(0, world).steps(Position(epoch=1)), 1) == [[first.batches[0].ids]]
        again = next(stream(0, world).steps(first.after))
        assert again.batches[0].ids == second.batches[0].ids


def test_epochs_differ_and_come_again_the_same():
    epoch = len(Reading(4000, seed=3).epoch(stream().data, 0))
    found = flat(ids(stream().steps(Position()), 2 * epoch))
    assert found[:epoch] != found[epoch:]
    assert found == flat(ids(stream().steps(Position()), 2 * epoch))


def test_a_stream_goes_on_from_any_position():
    steps = stream(accumulate=2).steps(Position())
    before = [next(steps) for _ in range(17)]
    for at in (3, 8, 9, 14):
        position = before[at].after
        again = stream(accumulate=2).steps(position)
        for step in before[at + 1 :]:
            assert [b.ids for b in next(again).batches] == [b.ids for b in step.batches]


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_reads_the_same(workers):
    alone, helped = stream().steps(Position()), stream(workers=workers).steps(Position())
    for _ in range(6):
        one, other = next(alone).batches[0], next(helped).batches[0]
        assert one.ids == other.ids and one.waveforms.equal(other.waveforms)


@pytest.mark.parametrize(("cores", "ranks", "workers"), [(2, 1, 2), (2, 4, 1), (64, 8, 4)])
def test_there_are_no_more_loader_workers_than_cores(monkeypatch, cores, ranks, workers):
    """Recipes ask for four a device; torch warns of more than there are cores, in its own words."""
    monkeypatch.setattr(processes, "usable_cores", lambda: cores)
    config = replace(FINETUNING["base-1h"](), batch_seconds=1.0, total_batch_hours=0.0)
    collectives = Collectives(Ranks(0, ranks, 0, ranks), torch.device("cpu"))
    assert config.loader_workers == 4
    found = audio_stream(config, TrainingSet(Counted(), np.arange(60)), collectives)
    assert found.workers == workers
