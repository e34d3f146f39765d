"""Updates that a thread draws while the one before runs are the very same updates."""

import json
import threading
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from recordings import Spoken

from lm.text.vocabulary import Vocabulary
from models.config import tiny
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.loop import Loop
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks import finetuning, pretraining
from w2v2cli.training.tasks.protocol import Prepared, Step
from w2v2cli.training.updates.drawing import Drawing

ALONE = Collectives(Ranks(), torch.device("cpu"))


def learned(folder, kind, ahead):
    """Weights and losses after six updates, masks, distractors and dropout among what is drawn."""
    settings = {"precision": "fp32", "schedule.updates": 6, "layer_drop": 0.3, "accumulate": 2}
    source = Spoken()
    if kind == "pretraining":
        run = changed(PRETRAINING["small"](), {"model": "tiny", **settings})
        held_out = Reading(40_000, crop=16_000).epoch(TrainingSet(source, np.arange(4)), 0)
        task, labels = pretraining.Pretraining(run, held_out), None
        network = pretraining.build(run)
    else:
        run = changed(FINETUNING["demo"](), settings | {"mask.channel_probability": 0.05})
        vocabulary: Vocabulary = vocabulary_of(run, source.texts)
        labels = [np.array(vocabulary.transcript_ids(text)) for text in source.texts]
        start = finetuning.Start(tiny(), None)
        held_out = TrainingSet(source, np.arange(4), labels[:4])
        task = finetuning.Finetuning(run, start, vocabulary, held_out)
        network = finetuning.build(start, run, vocabulary)
    stream = AudioStream(
        TrainingSet(source, np.arange(16), labels), Reading(40_000, crop=16_000), accumulate=2
    )
    loop = Loop(network, task, run, stream, ALONE, folder, print, print, print, ahead=ahead)
    loop.run()
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], network.state_dict()


@pytest.mark.parametrize("kind", ["pretraining", "finetuning"])
def test_a_thread_that_draws_changes_no_number(tmp_path, kind):
    losses, weights = learned(tmp_path / "waits", kind, ahead=False)
    same, others = learned(tmp_path / "ahead", kind, ahead=True)
    assert losses == same and len(set(losses)) == 6
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


@dataclass
class Counting:
    """Draws nothing; tells which update was prepared."""

    prepared: list
    blocks = (0, 0.0)

    def prepare(self, batch, draws, device):
        if isinstance(batch, Exception):
            raise batch
        self.prepared.append(draws.update)
        return Prepared(batch, 1, None)


def unguarded(step):
    return nullcontext()


def test_the_next_update_is_drawn_while_one_is_used():
    there = threading.Event()

    class Telling(Counting):
        def prepare(self, batch, draws, device):
            found = super().prepare(batch, draws, device)
            if draws.update == 8:
                there.set()
            return found

    task = Telling([])
    steps = iter(Step((i,), Position()) for i in range(4))
    updates = Drawing(task, 1, ALONE, 1).updates(steps, 7, unguarded, ahead=True)
    first = next(updates)
    assert there.wait(60)  # nobody has asked for it yet
    assert (first.draws[0].update, task.prepared) == (7, [7, 8])
    assert [next(updates).step.batches for _ in range(2)] == [(1,), (2,)]
    updates.close()
    waits = Counting([])
    updates = Drawing(waits, 1, ALONE, 1).updates(
        iter(Step((i,), Position()) for i in range(4)), 7, unguarded, ahead=False
    )
    next(updates)
    assert waits.prepared == [7]


@pytest.mark.parametrize("ahead", [False, True])
def test_what_cannot_be_drawn_is_raised_at_its_update(ahead):
    steps = iter([Step((0,), Position()), Step((UserError("r3 cannot be read"),), Position())])
    updates = Drawing(Counting([]), 1, ALONE, 1).updates(steps, 0, unguarded, ahead)
    assert next(updates).step.batches == (0,)
    with pytest.raises(UserError, match="r3 cannot be read"):
        next(updates)
