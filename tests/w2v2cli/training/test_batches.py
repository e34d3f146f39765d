"""What is in a micro-batch of each kind of run, and how many devices share an update."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import SAMPLE_RATE
from models.context_network import ContextNetwork
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.runs.dry_run import batch_description
from w2v2cli.training.runs.sources import unlabelled_recordings
from w2v2cli.training.stream import divided, reading_of
from w2v2cli.training.tasks.pretraining import Pretraining, build
from w2v2cli.training.tasks.protocol import Draws

CORPUS = Path(__file__).parents[3] / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
SMALL = {"model": "tiny", "shortest_seconds": 0.5, "batch_seconds": 20, "objective.distractors": 5}
SMALL |= {"precision": "fp32"}


class Lengths:
    shards = None

    def __init__(self, lengths):
        self.lengths = np.array(lengths)
        self.ids = [str(i) for i in range(len(lengths))]
        self.texts = [None] * len(lengths)


def recordings(seconds):
    source = Lengths([int(s * SAMPLE_RATE) for s in seconds])
    return TrainingSet(source, np.arange(len(seconds)))


def test_nothing_is_padded_in_an_epoch_of_pretraining():
    """Lengths as in LibriSpeech, most of them near the crop."""
    lengths = np.random.default_rng(0).gamma(8, 1.6, 3000).clip(2, 35)
    reading = reading_of(PRETRAINING["base-960"]())
    plan = reading.epoch(recordings(lengths), 0).plan
    assert len(plan) > 100
    for planned in plan:
        assert len(set(planned.samples)) == 1
        assert planned.samples[0] * len(planned.indices) <= reading.budget
    used = sum(sum(planned.samples) for planned in plan) / SAMPLE_RATE
    assert used > 0.98 * np.minimum(lengths, 15.625).sum()


def test_labelled_recordings_are_never_cut():
    lengths = np.random.default_rng(0).uniform(1, 20, 300)
    plan = Reading(80 * SAMPLE_RATE).epoch(recordings(lengths), 0).plan
    assert sum(sum(p.samples) for p in plan) == sum(int(s * SAMPLE_RATE) for s in lengths)


def test_the_attention_of_pretraining_gets_no_mask(monkeypatch):
    """In training and in validation, on real recordings of different lengths."""
    config = changed(PRETRAINING["small"](), SMALL)
    data, _, _ = unlabelled_recordings([str(CORPUS)], None, None, None, 0.5)
    assert len(set(data.lengths.tolist())) > 3
    masks = []
    forward = ContextNetwork.forward

    def spied(self, x, valid, *more):
        masks.append(valid)
        return forward(self, x, valid, *more)

    monkeypatch.setattr(ContextNetwork, "forward", spied)
    batches = reading_of(config).epoch(data, 0)
    task, network = Pretraining(config, batches), build(config)
    generators = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    for number in range(len(batches)):
        draws = Draws(0, *generators, None)
        prepared = task.prepare(batches[number], draws, torch.device("cpu"))
        task.loss(network, prepared, draws)
    task.validate(network.eval(), Collectives(Ranks(), torch.device("cpu")))
    assert len(masks) == 2 * len(batches) and all(mask is None for mask in masks)


def hours(config, world):
    return config.batch_seconds * world * config.accumulation(world) / 3600


@pytest.mark.parametrize("recipe", ["base-960", "large-lv60k"])
@pytest.mark.parametrize("world", [1, 8, 24, 64, 128, 256])
def test_any_number_of_devices_keeps_the_total_batch(recipe, world):
    config = PRETRAINING[recipe]()
    shared = divided(config, None, world)
    assert hours(shared, world) == pytest.approx(config.total_batch_hours, rel=0.05)
    assert shared.batch_seconds <= config.batch_seconds
    assert replace(shared, batch_seconds=config.batch_seconds) == config


def test_more_devices_than_the_paper_get_smaller_micro_batches_and_say_so():
    config = PRETRAINING["base-960"]()
    assert divided(config, None, 64) == config  # as the paper has it
    assert divided(config, None, 128).batch_seconds == pytest.approx(45)
    assert batch_description(config, 128) == (
        "45.0 s × 128 processes × 1 accumulated = 1.600 h an update "
        "(less than 87.5 s at a time, so that an update keeps its 1.6 h)"
    )
    assert batch_description(config, 1024) == (
        "15.6 s × 1024 processes × 1 accumulated = 4.444 h an update, more than the recipe's "
        "1.6 h: each process reads at least one recording"
    )
    finetuned = FINETUNING["base-10h"]()
    assert hours(divided(finetuned, None, 16), 16) == pytest.approx(finetuned.total_batch_hours)
    longest = divided(finetuned, recordings([3, 30, 4]), 1000)
    assert longest.batch_seconds == pytest.approx(30)
