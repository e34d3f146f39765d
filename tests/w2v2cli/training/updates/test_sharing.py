"""Training with a part of the network on each rank gives the numbers of DDP.

Run by torchrun, this file compares them on two ranks over Gloo.
"""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from calls import on_two_ranks
from recordings import Spoken
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from lm.text.vocabulary import Vocabulary
from lm.transformer.dictionary import Dictionary
from lm.transformer.token_shards import Blocks
from models.config import tiny
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives, joined
from w2v2cli.training.config import changed
from w2v2cli.training.loop import Loop
from w2v2cli.training.recipes import FINETUNING, LANGUAGE_MODELS, PRETRAINING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks import finetuning, language_model, pretraining

AVERAGES = "set_force_sum_reduction_for_comms"  # what a newer torch has
UPDATES = 6
NAMES = "loss", "gradient_norm", "valid_loss", "valid_contrastive", "valid_perplexity"
COMMON = {"precision": "fp32", "schedule.updates": UPDATES, "save_every": 3, "validate_every": 3}
COMMON |= {"accumulate": 2, "schedule.peak": 3e-4}
WORDS = {"clip_norm": 0.05, "dropout": 0.1}
CASES = {
    # A block that runs in the first of two micro-batches alone, and one in neither, come up.
    "pretraining": {"layer_drop": 0.5, "clip_norm": 0.5, "recompute": True},
    "finetuning": {"layer_drop": 0.5, "head_only_updates": 2, "clip_norm": 1.0},
    "everything": {"layer_drop": 0.0, "head_only_updates": 0, "freeze_feature_encoder": False},
    "language model": WORDS,
}


class Numbers:
    tokens = 400

    def read(self, start, end):
        return 4 + (np.arange(start, end) * 7) % 1200


def parts(kind, settings, ranks, accumulate):
    """A run, its task, its network and its stream."""
    source, rank, world = Spoken(), ranks.rank, ranks.world
    if kind == "language model":
        run = changed(LANGUAGE_MODELS["tiny"](), settings)
        dictionary = Dictionary.from_counts({f"W{i}": 1 for i in range(1500)})
        places = np.arange(0, 400, 10)
        blocks = Blocks(places, places + 10, 10)
        task = language_model.LanguageModelling(run, dictionary, Numbers(), blocks, Numbers(), 4)
        stream = language_model.TextStream(Numbers(), blocks, 4, 1, rank, world, accumulate)
        return run, task, language_model.build(run, len(dictionary)), stream
    held_out, labels = TrainingSet(source, np.arange(3)), None  # ranks validate unlike numbers
    if kind == "pretraining":
        run = changed(PRETRAINING["small"](), {"model": "tiny", **settings})
        task = pretraining.Pretraining(run, Reading(20_000, crop=16_000).epoch(held_out, 0))
        network = pretraining.build(run)
    else:
        run = changed(FINETUNING["demo"](), settings)
        vocabulary: Vocabulary = vocabulary_of(run, source.texts)
        labels = [np.array(vocabulary.transcript_ids(text)) for text in source.texts]
        start = finetuning.Start(tiny(), None)
        held_out = TrainingSet(source, np.arange(3), labels[:3])
        task = finetuning.Finetuning(run, start, vocabulary, held_out)
        network = finetuning.build(start, run, vocabulary)
    data = TrainingSet(source, np.arange(16), labels)
    stream = AudioStream(data, Reading(40_000, crop=16_000), rank, world, accumulate)
    return run, task, network, stream


def trained(kind, folder, ranks, accumulate=2, **settings):
    """A run to its end, on from the state that the folder holds."""
    settings = COMMON | CASES[kind] | settings
    run, task, network, stream = parts(kind, settings, ranks, accumulate)
    for module in network.modules():
        if hasattr(module, "recompute"):
            module.recompute = run.recompute
    loop = Loop(network, task, run, stream, ranks, folder, nothing, nothing, nothing)
    loop.run()
    return loop


def nothing(*_):
    pass


def rows(folder):
    """The losses and norms of each update, and what validations found."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [[line[name] for name in NAMES if name in line] for line in lines]


def state(folder):
    return torch.load(max(folder.glob("state-*.pt")), weights_only=True)


def assert_alike(one, other, tolerance=1e-5):
    """Nested weights, moments and numbers of two states."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name], tolerance)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def compare(kind, folder, ranks):
    """DDP and FSDP, whole runs of each, and each continued by the other from half way."""
    for name in ("ddp", "fsdp"):
        loop = trained(kind, folder / name, ranks, parallel=name)
        divided = name == "fsdp"
        assert isinstance(loop.network, FSDPModule) == divided
        assert all(isinstance(p, DTensor) == divided for p in loop.network.parameters())
    for first, second in (("ddp", "fsdp"), ("fsdp", "ddp")):
        ranks.from_first(partial(half_way, folder / first, folder / second / "continued"))
        trained(kind, folder / second / "continued", ranks, parallel=second)


def half_way(folder, other):
    """Copy the first of two states."""
    other.mkdir(parents=True)
    shutil.copy(min(folder.glob("state-*.pt")), other)


def check(kind, folder):
    """What two ranks have left in a folder."""
    ddp, fsdp = folder / "ddp", folder / "fsdp"
    expected = rows(ddp)
    assert len(expected) == UPDATES and len(expected[2]) == 3  # validated after the third
    for name in ("fsdp", "fsdp/continued", "ddp/continued"):
        found = rows(folder / name)
        assert len(found) == (3 if "/" in name else UPDATES)
        np.testing.assert_allclose(
            np.concatenate(found), np.concatenate(expected[-len(found) :]), rtol=1e-5, err_msg=name
        )
        assert_alike(state(ddp), state(folder / name))
    for pattern in ("best.safetensors", "state-*.pt"):
        sizes = [max(path.glob(pattern)).stat().st_size for path in (ddp, fsdp)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02)  # tied weights are there once


def check_exchange(folder, ranks):
    """Gradients of one update as they are exchanged: each is a mean of two in bfloat16, or not."""
    for precision in ("fp32", "bf16"):
        settings = COMMON | CASES["everything"] | {"gradient_exchange": precision}
        settings |= {"parallel": "fsdp", "accumulate": 1, "clip_norm": 0.0}
        run, task, network, stream = parts("everything", settings, ranks, 1)
        loop = Loop(network, task, run, stream, ranks, folder / precision, print, print, print)
        loop._restore()
        drawn = loop.drawing.drawn(next(stream.steps(loop.position)), 0)
        loop._read(loop._update(drawn, None))
        found = [p.grad.full_tensor() for p in loop.network.parameters()]
        rounded = [torch.equal(gradient, gradient.bfloat16().float()) for gradient in found]
        assert all(rounded) == (precision == "bf16"), rounded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two ranks leave, in a folder for each kind of run."""
    if not hasattr(FSDPModule, AVERAGES):
        pytest.skip("this torch does not average gradients on a CPU")
    found = tmp_path_factory.mktemp("runs")
    result = on_two_ranks(__file__, str(found), timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    return found


@pytest.mark.parametrize("kind", CASES)
def test_fsdp_has_the_losses_norms_weights_and_states_of_ddp(kind, folder):
    check(kind, folder / kind)


def test_one_process_goes_on_with_what_two_ranks_have_begun(folder):
    alone, joint = folder / "alone", folder / "everything" / "fsdp"
    half_way(joint, alone)
    one = Collectives(Ranks(), torch.device("cpu"))
    trained("everything", alone, one, accumulate=4, parallel="fsdp")
    assert_alike(state(joint)["network"], state(alone)["network"])


def test_a_torch_that_does_not_average_on_a_cpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(FSDPModule, AVERAGES, raising=False)
    two = Collectives(Ranks(world=2), torch.device("cpu"))
    sentence = "^parallel=fsdp needs a newer torch than .* on a CPU, where .*: leave it out[.]$"
    with pytest.raises(UsageError, match=sentence):
        trained("everything", tmp_path, two, parallel="fsdp")


if __name__ == "__main__":
    with joined(torch.device("cpu")) as collectives:
        for name in CASES:
            compare(name, Path(sys.argv[1], name), collectives)
        check_exchange(Path(sys.argv[1], "exchange"), collectives)
