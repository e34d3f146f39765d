"""A trained network made ready to run: nothing that only training needs, weights in the precision of the run."""

from __future__ import annotations

import torch

from models.context_network import PositionalConvolution
from models.wav2vec2 import Wav2Vec2ForCTC


def prepare_for_inference(
    network: Wav2Vec2ForCTC, device: torch.device, dtype: torch.dtype
) -> Wav2Vec2ForCTC:
    """The same network in eval mode on `device`: weight norm folded, matrices in `dtype`.

    The norms' statistics, the waveform and the first convolution stay in float32 (see `FeatureEncoder`); the logits come
    out in `dtype`. Changes `network` and returns it; it cannot be trained afterwards.
    """
    network = network.eval().requires_grad_(False).to(device)
    for module in network.modules():
        if isinstance(module, PositionalConvolution):
            module.fold()
    return network.to(dtype) if dtype != torch.float32 else network
