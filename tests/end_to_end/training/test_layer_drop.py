"""Two ranks whose micro-batches skip different blocks add up to what one process computes."""

import os
import subprocess
import sys

import pytest
import torch
from hub_server import closed_port

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import torch

from w2v2cli.data.dataset import TrainingSet
from w2v2cli.training.collectives import joined
from w2v2cli.training.config import changed
from w2v2cli.training.loop import Loop
from w2v2cli.training.recipes import PRETRAINING
from w2v2cli.training.stream import audio_stream
from w2v2cli.training.tasks.pretraining import Pretraining, build
from w2v2cli.training.updates.drawing import Drawing

folder, accumulate = Path(sys.argv[1]), int(sys.argv[2])


class Noise:
    shards = None
    ids = [f"r{i}" for i in range(24)]
    texts = [None] * 24
    lengths = np.full(24, 16_000)

    def read(self, index, start=0, samples=None):
        noise = np.random.default_rng(index).standard_normal(16_000).astype(np.float32)
        return noise[start : None if samples is None else start + samples]


class Unjudged(Pretraining):
    validation_work = 0.0


class DrawnAlike(Drawing):
    # The j-th of four micro-batches is the (j // 2)-th of one of two ranks.
    def seeded(self, *parts):
        if parts[0] == "blocks" and self.collectives.world == 1:
            parts = (*parts[:2], parts[2] // 2)
        return super().seeded(*parts)

    def draws(self, update, i):
        draws = super().draws(update, i)
        kept.append(draws.kept_blocks)
        return draws


class Alike(Loop):
    @property
    def drawing(self):
        plain = super().drawing
        return DrawnAlike(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})


run = changed(PRETRAINING["small"](), {
    "model": "tiny", "layer_drop": 0.5, "dropout": 0, "attention_dropout": 0,
    "feature_dropout": 0, "quantizer_dropout": 0, "batch_seconds": 2, "crop_seconds": 1,
    "shortest_seconds": 0.5, "precision": "fp32", "schedule.updates": 4, "accumulate": accumulate,
    "validate_every": 99, "save_every": 99, "seed": 3,
})
kept = []
with joined(torch.device("cpu")) as collectives:
    data = TrainingSet(Noise(), np.arange(24))
    task = Unjudged(run, None)
    task.validate = lambda network, collectives: {}
    stream = audio_stream(run, data, collectives)
    network = build(run)
    nothing = lambda *_: None
    Alike(network, task, run, stream, collectives, folder, nothing, nothing, nothing).run()
    if collectives.first:
        torch.save([network.state_dict(), kept], folder / "found.pt")
"""


def environment(rank, world, port):
    ranks = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return os.environ | {name: str(value) for name, value in (ranks | address).items()}


@pytest.mark.parametrize("world", [2])
def test_ranks_that_skip_blocks_by_the_micro_batch_learn_as_one_process_does(tmp_path, world):
    port = closed_port()
    call = [sys.executable, "-c", SCRIPT]
    alone, together = tmp_path / "alone", tmp_path / "together"
    subprocess.run([*call, alone, "4"], check=True, timeout=240)
    ranks = [
        subprocess.Popen([*call, together, "2"], env=environment(rank, world, port))
        for rank in range(world)
    ]
    assert [rank.wait(timeout=240) for rank in ranks] == [0] * world
    (one, _), (two, kept) = (torch.load(f / "found.pt") for f in (alone, together))
    # In some update a block runs in the first micro-batch alone, before gradients are exchanged.
    pairs = list(zip(kept[::2], kept[1::2], strict=True))
    assert any(first[b] and not last[b] for first, last in pairs for b in range(2))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-5, rtol=1e-3)
