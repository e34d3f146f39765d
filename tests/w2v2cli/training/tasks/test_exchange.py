"""How DDP is asked to exchange gradients; it runs alone here, in a group of one process."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from recordings import Spoken

from lm.text.vocabulary import Vocabulary
from lm.transformer.dictionary import Dictionary
from lm.transformer.token_shards import Blocks
from models.config import tiny
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.loop import Loop
from w2v2cli.training.recipes import FINETUNING, LANGUAGE_MODELS, PRETRAINING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks import finetuning, language_model, pretraining

NO_DROP = {"layer_drop": 0.0}


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Numbers:
    """A text of a few common words: other bands of the vocabulary have none in any batch."""

    tokens = 400

    def read(self, start, end):
        return 4 + np.arange(start, end) % 20


def modelling(settings):
    run = changed(LANGUAGE_MODELS["tiny"](), settings)
    dictionary = Dictionary.from_counts({f"W{i}": 1 for i in range(1500)})
    places = np.arange(0, 400, 10)
    blocks = Blocks(places, places + 10, 10)
    task = language_model.LanguageModelling(run, dictionary, Numbers(), blocks, Numbers(), 4)
    stream = language_model.TextStream(Numbers(), blocks, rows=4, seed=1)
    return run, task, language_model.build(run, len(dictionary)), stream


def updated(folder, kind, network_config=None, updates=2, **settings):
    """A loop after some updates; it takes itself for the first of two ranks."""
    settings = {"precision": "fp32", "schedule.updates": 9, **settings}
    source = Spoken(longer=0)
    if kind == "language model":
        run, task, network, stream = modelling(settings)
    elif kind == "pretraining":
        run = changed(PRETRAINING["small"](), {"model": "tiny", **settings})
        task = pretraining.Pretraining(run, validation=None)
        network, labels = pretraining.build(run), None
    else:
        run = changed(FINETUNING["demo"](), settings)
        vocabulary: Vocabulary = vocabulary_of(run, source.texts)
        labels = [np.array(vocabulary.transcript_ids(text)) for text in source.texts]
        start = finetuning.Start(network_config or tiny(), None)
        task = finetuning.Finetuning(run, start, vocabulary, TrainingSet(source, np.arange(16)))
        network = finetuning.build(start, run, vocabulary)
    if kind != "language model":
        stream = AudioStream(TrainingSet(source, np.arange(16), labels), Reading(40_000))
    two = Collectives(Ranks(rank=0, world=2), torch.device("cpu"))
    loop = Loop(network.train(), task, run, stream, two, folder, print, print, print)
    steps = stream.steps(loop.position)
    for _ in range(updates):
        drawn = loop.drawing.drawn(next(steps), loop.position.update)
        loop._read(loop._update(drawn, None))
    return loop


@pytest.mark.parametrize(
    ("kind", "network", "settings", "looks"),
    [
        ("pretraining", None, NO_DROP, False),
        ("pretraining", None, {"layer_drop": 0.6}, True),
        ("pretraining", None, {**NO_DROP, "conv_bias": True}, True),
        (
            "pretraining",
            None,
            {**NO_DROP, "separate_encoders": True, "objective.target_gradient": False},
            True,
        ),
        ("pretraining", None, {**NO_DROP, "quantized_inputs": True}, False),
        ("finetuning", None, {**NO_DROP, "freeze_feature_encoder": False}, False),
        ("finetuning", None, {"layer_drop": 0.6, "head_only_updates": 9}, False),
        ("finetuning", None, {"layer_drop": 0.6, "head_only_updates": 0}, True),
        ("finetuning", replace(tiny(), quantized_inputs=True), NO_DROP, True),
        ("language model", None, {}, False),
    ],
)
def test_ddp_looks_for_missing_gradients_only_where_there_may_be_some(
    tmp_path, group, kind, network, settings, looks
):
    settings = {"head_only_updates": 0, **settings} if kind == "finetuning" else settings
    # A parameter that was missed would make DDP refuse the next update.
    running = updated(tmp_path, kind, network, 4, **settings)._sharing.running
    assert (running.find_unused_parameters, running.gradient_as_bucket_view) == (looks, True)


def test_gradients_are_exchanged_in_bfloat16_where_asked(tmp_path, group):
    exact, rounded = (
        [
            weight.grad
            for weight in updated(
                tmp_path, "pretraining", None, 1, gradient_exchange=precision, **NO_DROP
            ).network.parameters()
        ]
        for precision in ("fp32", "bf16")
    )
    for one, other in zip(exact, rounded, strict=True):
        assert torch.equal(one.bfloat16().float(), other)
    assert any(not torch.equal(a, b) for a, b in zip(exact, rounded, strict=True))
