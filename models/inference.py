"""Prepares a trained network for inference: weight norm folded, weights in the run's precision."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from models.context_network import PositionalConvolution

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def prepare_for_inference(network: NetworkT, device: torch.device, dtype: torch.dtype) -> NetworkT:
    """Put `network` on `device` in eval mode, fold its weight norm, convert its weights to `dtype`.

    The statistics of the waveform stay in float32 or better (see `FeatureEncoder`); the logits have
    type `dtype`. Changes `network` and returns it. It cannot be trained afterwards.
    """
    network = network.eval().requires_grad_(False).to(device)
    for module in network.modules():
        if isinstance(module, PositionalConvolution):
            module.fold()
    return network.to(dtype) if dtype != torch.float32 else network
