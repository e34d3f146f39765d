"""The task of fine-tuning on a tiny network: what is drawn for it, and what it tells."""

from dataclasses import replace

import numpy as np
import torch

from lm.text.vocabulary import Vocabulary
from models.config import tiny
from models.masking import DrawnMask
from w2v2cli.data.dataset import TrainingSet, collate
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.tasks.finetuning import Finetuning, Start, build, regularised
from w2v2cli.training.tasks.protocol import Draws

CPU = torch.device("cpu")
ALONE = Collectives(Ranks(), CPU)
PLAIN = {"dropout": 0, "activation_dropout": 0, "layer_drop": 0, "precision": "fp32"}


class Spoken:
    """Recordings of noise with texts."""

    shards = None

    def __init__(self, texts):
        self.texts = list(texts)
        self.ids = [f"r{i}" for i in range(len(self.texts))]
        self.lengths = np.array([16_000 + 1_600 * (i % 3) for i in range(len(self.texts))])

    def read(self, index, start=0, samples=None):
        noise = np.random.default_rng(index).standard_normal(int(self.lengths[index]))
        return noise.astype(np.float32)


def finetuning(texts=("A CAT", "NO", "TEN DOGS"), recipe="demo", pool=None, **settings):
    run = changed(FINETUNING[recipe](), {**PLAIN, **settings})
    vocabulary: Vocabulary = vocabulary_of(run, texts)
    start = Start(tiny(), None)
    source = Spoken(texts)
    labels = tuple(vocabulary.transcript_ids(text) for text in texts)
    held_out = TrainingSet(source, np.arange(len(texts)), labels)
    task = Finetuning(run, start, vocabulary, held_out, pool)
    return task, build(start, run, vocabulary).train()


def batch_of(task):
    source = task.held_out.source
    waveforms = [torch.from_numpy(source.read(i)) for i in range(len(source.ids))]
    labels = [torch.tensor(spelled) for spelled in task.held_out.labels]
    return collate(waveforms, labels, source.ids)


def draws(seed):
    return Draws(0, torch.Generator().manual_seed(seed), torch.Generator(), None)


def test_masks_come_from_the_micro_batchs_generator_and_from_nothing_else():
    settings = {"mask.time_probability": 0.1, "mask.channel_probability": 0.05}
    task, _ = finetuning(**settings, **{"mask.channel_span": 4})
    batch = batch_of(task)
    frames = tiny().frame_lengths(batch.lengths)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))  # dropout's generator has no part in it
        found.append(task.prepare(batch, draws(seed), CPU).drawn)
    expected = DrawnMask.draw(frames, 32, task.run.mask, torch.Generator().manual_seed(1))
    for mask in found[:2]:
        assert torch.equal(mask.frames, expected.frames)
        assert torch.equal(mask.channels, expected.channels)
    assert not torch.equal(found[2].frames, expected.frames)
    assert found[0].frames.any(1).all() and found[0].channels.any(1).all()


def test_the_network_hides_what_was_drawn():
    task, network = finetuning(**{"mask.time_probability": 0.1})
    prepared = task.prepare(batch_of(task), draws(1), CPU)
    seen = []
    network.wav2vec2.context_network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(task.loss(network, prepared, draws(1))[0].item())
    assert losses[0] == losses[1]
    vector = network.wav2vec2.mask_vector
    assert torch.equal((seen[0] == vector).all(-1), prepared.drawn.frames)


def test_dropout_is_also_that_of_the_output():
    run = changed(FINETUNING["scratch"](), {})
    config = regularised(tiny(), run)
    assert (config.dropout, config.feature_dropout, config.final_dropout) == (0.1, 0.1, 0.1)
    assert regularised(replace(tiny(), final_dropout=0.3), FINETUNING["demo"]()).final_dropout == 0
