"""Prepares a trained network for inference: weight norm folded, weights in the run's precision."""

from __future__ import annotations

import torch

from models.context_network import PositionalConvolution
from models.wav2vec2 import Wav2Vec2ForCTC


def prepare_for_inference(
    network: Wav2Vec2ForCTC, device: torch.device, dtype: torch.dtype
) -> Wav2Vec2ForCTC:
    """Put `network` on `device` in eval mode, fold its weight norm, convert its weights to `dtype`.

    The statistics of the waveform stay in float32 or better (see `FeatureEncoder`); the logits have
    type `dtype`. Changes `network` and returns it. It cannot be trained afterwards.
    """
    network = network.eval().requires_grad_(False).to(device)
    for module in network.modules():
        if isinstance(module, PositionalConvolution):
            module.fold()
    return network.to(dtype) if dtype != torch.float32 else network
