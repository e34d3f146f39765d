"""How often an update reads from the device, which makes the host wait for it.

The device is the CPU, and what would lie on a GPU is followed through each operation: the weights,
what is moved to the device, and whatever is computed from them. Run by torchrun, this file checks
the same on two ranks.
"""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from calls import on_two_ranks
from recordings import Spoken
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lm.text.vocabulary import Vocabulary
from lm.transformer.dictionary import Dictionary
from lm.transformer.token_shards import Blocks
from models.config import tiny
from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.training.collectives import joined
from w2v2cli.training.config import changed
from w2v2cli.training.loop import Loop
from w2v2cli.training.recipes import FINETUNING, LANGUAGE_MODELS, PRETRAINING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks import finetuning, language_model, pretraining

TEXTS = ("A CAT", "NO", "TEN DOGS", "ON AND ON")
# Operations whose result, or its size, the host has to know.
READING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero")
TO_HOST = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu)


class Moves(TorchFunctionMode):
    """Sees `.to(device)`, which does nothing on a CPU, and what lists the values of a tensor."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.to and any(isinstance(a, torch.device) for a in args[1:]):
            return self.seen.put(func(*args, **kwargs).clone())
        if func in TO_HOST and self.seen.holds(args[0]):
            self.seen.events.append(func.__name__)
        found = func(*args, **kwargs)
        if func is torch.Tensor.backward:
            self.seen.events.append("backward")
        return found


class Device(TorchDispatchMode):
    """Follows tensors that would lie on a GPU, and lists what reads them."""

    def __init__(self):
        super().__init__()
        self.events = []
        self.storages = {}

    def put(self, tensor):
        held = StorageWeakRef(tensor.untyped_storage())
        self.storages[held.cdata] = held
        return tensor

    def holds(self, tensor):
        held = self.storages.get(tensor.untyped_storage()._cdata)
        return held is not None and not held.expired()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = any(map(self.holds, given))
        name = func._schema.name.removeprefix("aten::")
        masked = name in ("index", "index_put", "index_put_") and any(
            leaf.dtype == torch.bool for leaf in tree_leaves(args[1]) if leaf is not None
        )
        if on_device and (name in READING or masked):
            self.events.append(name)
        found = func(*args, **(kwargs or {}))
        if on_device:
            for leaf in tree_leaves(found):
                if isinstance(leaf, torch.Tensor):
                    self.put(leaf)
        return found


@contextmanager
def drawn_on_the_host(seen):
    """See no move in what draws masks on the host: there `.to` leaves a tensor where it is."""
    with ExitStack() as patched:
        for owner in (pretraining.MaskedSteps, finetuning.DrawnMask):
            patched.enter_context(mock.patch.object(owner, "draw", _hidden(owner.draw, seen)))
        yield


def _hidden(draw, seen):
    def drawn(frames, *others):
        if seen.holds(frames):
            seen.events.append("draw")
        with torch._C.DisableTorchFunction():
            return draw(frames, *others)

    return drawn


def parts(kind, settings):
    """A run, its task, its network and its data."""
    source = Spoken(TEXTS * 4, longer=1_600)
    if kind == "language model":
        return modelling(settings)
    if kind == "pretraining":
        run = changed(PRETRAINING["small"](), {"model": "tiny", **settings})
        task = pretraining.Pretraining(run, validation=None)
        return run, task, pretraining.build(run), TrainingSet(source, np.arange(16))
    run = changed(FINETUNING["demo"](), settings)
    vocabulary: Vocabulary = vocabulary_of(run, TEXTS)
    labels = [np.array(vocabulary.transcript_ids(text)) for text in source.texts]
    data = TrainingSet(source, np.arange(16), labels)
    start = finetuning.Start(tiny(), None)
    task = finetuning.Finetuning(run, start, vocabulary, data)
    return run, task, finetuning.build(start, run, vocabulary), data


class Numbers:
    """A text of the commonest words only, so that the bands of the others have none."""

    tokens = 4000

    def read(self, start, end):
        return 4 + np.arange(start, end) % 20


def modelling(settings):
    """As `parts`, for a word Transformer: it has three bands, its data are blocks."""
    run = changed(LANGUAGE_MODELS["tiny"](), settings)
    dictionary = Dictionary.from_counts({f"W{i}": 1 for i in range(1500)}, 1500)
    places = np.arange(0, 4000, 10)
    blocks = Blocks(places, places + 4 + places % 6, 10)  # some end early and are padded
    task = language_model.LanguageModelling(run, dictionary, Numbers(), blocks, Numbers(), 4)
    return run, task, language_model.build(run, len(dictionary)), blocks


def stream_of(data, collectives):
    rank, world = collectives.rank, collectives.world
    if isinstance(data, Blocks):
        return language_model.TextStream(Numbers(), data, 4, 1, rank, world, accumulate=2)
    return AudioStream(data, Reading(40_000, crop=16_000), rank, world, accumulate=2)


def events_of_an_update(kind, collectives, **settings):
    """What happens, in order, in each of two updates: reads and backward passes."""
    defaults = {"schedule.updates": 10, "accumulate": 2, "precision": "fp32"}
    if kind != "language model":
        defaults["layer_drop"] = 0.5
    run, task, network, data = parts(kind, defaults | settings)
    stream = stream_of(data, collectives)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            network.train(), task, run, stream, collectives, Path(folder), print, print, print
        )
        device, found = Device(), []
        for weight in network.parameters():
            device.put(weight)
        steps = stream.steps(loop.position)
        for _ in range(2):
            step = next(steps)
            with drawn_on_the_host(device), Moves(device), device:
                drawn = loop.drawing.drawn(step, loop.position.update)
                loop._read(loop._update(drawn, None))
            found.append(list(device.events))
            device.events.clear()
        assert loop.skipped == 0
        return found


CASES = [
    ("pretraining", {}),
    ("pretraining", {"precision": "bf16", "quantized_inputs": True, "objective.edge_steps": 2}),
    ("finetuning", {"mask.channel_probability": 0.05, "mask.channel_span": 4}),
    ("finetuning", {"head_only_updates": 1, "precision": "bf16", "clip_norm": 1.0}),
    ("language model", {}),
    ("language model", {"precision": "bf16", "clip_norm": 0.0}),
]


def check_reads(collectives):
    for kind, settings in CASES:
        for events in events_of_an_update(kind, collectives, **settings):
            assert events == ["backward", "backward", "tolist"], (kind, settings, events)


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_update_reads_from_the_device_once_and_after_its_backward_passes(ranks):
    if ranks == 1:
        with joined(torch.device("cpu")) as alone:
            check_reads(alone)
        return
    result = on_two_ranks(__file__, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize(
    ("read", "events"),
    [
        (lambda x: x.sum().item(), ["_local_scalar_dense"]),
        (lambda x: bool(x.isfinite().all()), ["_local_scalar_dense"]),
        (lambda x: (x > 0).nonzero(), ["nonzero"]),
        (lambda x: x[x > 0], ["index"]),
        (lambda x: (x * 2).detach().tolist(), ["tolist"]),
        (lambda x: x * 2, []),
    ],
)
def test_the_count_sees_each_kind_of_read(read, events):
    device = Device()
    weight, lengths = torch.nn.Parameter(torch.ones(3)), torch.tensor([1, 2])
    device.put(weight)
    with Moves(device), device:
        read(weight)
        int(lengths.max())  # of the host
        lengths.tolist()
        moved = lengths.to(torch.device("cpu"))
    assert device.events == events
    with Moves(device), device:
        moved.max().item()
    assert device.events == [*events, "_local_scalar_dense"]


if __name__ == "__main__":
    with joined(torch.device("cpu")) as ranks:
        check_reads(ranks)
