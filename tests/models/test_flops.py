"""The arithmetic of operations beside torch's own counter, which watches the network run."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.config import PRESETS
from models.wav2vec2 import Wav2Vec2

SHAPES = {
    "tiny": PRESETS["tiny"](),
    "small": PRESETS["small"](),
    # The proportions of BASE in a tenth of its width, and few blocks.
    "slim": replace(PRESETS["base"](), num_layers=2, width=96, ffn_width=384, num_heads=4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_forward_pass_takes_the_operations_that_torch_counts(name):
    config = SHAPES[name]
    network = Wav2Vec2(config).train()
    samples = 32_000
    waveforms, lengths = torch.randn(2, samples), torch.tensor([samples, samples])
    with FlopCounterMode(display=False) as counter:
        network(waveforms, lengths, kept_blocks=[True] * config.num_layers)
    forward = counter.get_total_flops()
    # torch does not count the CPU's attention kernel, and counts a frame that is cut off again.
    assert 2 * sum(config.forward_flops(samples)) == pytest.approx(forward, rel=0.08)
