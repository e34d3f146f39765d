"""Blocks through torch.compile, with a backend that counts and runs them as they are."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from models.config import tiny
from models.masking import DrawnMask, SpanMask
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.training.optimization import FORMS, compile_blocks

# torch.compile looks at the gradients of its own inputs, and hides the warning in its own way.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
LEARNING = {
    "output layer": lambda name: name.startswith("output."),
    "all but the encoder": lambda name: "feature_encoder" not in name,
    "everything": lambda name: True,
}
# Rows, samples, and whether one row is shorter, as the batches of an epoch come.
BATCHES = [(3, 16_000, True), (4, 20_000, True), (4, 18_000, False), (1, 17_000, False)]
MORE = [(2, 23_000, True), (5, 21_000, False), (1, 19_000, False)]


@pytest.fixture(autouse=True)
def forgotten():
    limit = torch._dynamo.config.cache_size_limit
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    torch._dynamo.config.cache_size_limit = limit


def run(network, rows, samples, ragged):
    """One forward pass, in training with a mask and the backward pass."""
    lengths = torch.full((rows,), samples)
    lengths[0] -= 1600 * ragged
    waveforms = torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))
    if not network.training:
        with torch.inference_mode():
            return network(waveforms, lengths)[0]
    frames = network.config.frame_lengths(lengths)
    spans = SpanMask(time_probability=0.065)
    mask = DrawnMask.draw(frames, network.config.width, spans, torch.Generator().manual_seed(1))
    network.zero_grad()
    logits = network(waveforms, lengths, mask)[0]
    logits.square().mean().backward()
    return logits.detach()


@pytest.mark.parametrize(
    "config",
    [tiny(), replace(tiny(), conv_norm="layer", norm_order="pre", conv_bias=True)],
    ids=["BASE", "LARGE"],
)
def test_compiling_ends_with_every_kind_of_batch_seen(config):
    network, counter = Wav2Vec2ForCTC(config, 8), CompileCounter()
    compile_blocks(network, counter)
    for learns in LEARNING.values():
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learns(name))
        for batch in BATCHES:
            run(network.train(), *batch)
            before = counter.frame_count
            run(network.eval(), *batch)  # is not compiled
            assert counter.frame_count == before
        for batch in MORE:
            run(network.train(), *batch)
        assert counter.frame_count == before, "a batch of another size was compiled anew"
    assert 8 < counter.frame_count <= FORMS
    assert not counters["unimplemented"]  # which tells of a limit that was exceeded


def test_compiled_blocks_compute_the_same():
    plain, compiled = Wav2Vec2ForCTC(tiny(), 8), Wav2Vec2ForCTC(tiny(), 8)
    compiled.load_state_dict(plain.state_dict())
    compile_blocks(compiled, "eager")
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    found = []
    for network in (plain, compiled):
        torch.manual_seed(0)
        network.wav2vec2.context_network.recompute = True
        outputs = [run(network.train(), *BATCHES[0]), run(network.eval(), *BATCHES[0])]
        found.append([*outputs, *(weight.grad for weight in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
