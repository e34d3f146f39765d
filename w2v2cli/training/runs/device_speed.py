"""How many operations a second a device reaches in training, by a small piece of the network."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import lru_cache

import torch

from models.config import SAMPLE_RATE, Wav2Vec2Config
from models.wav2vec2 import Wav2Vec2
from w2v2cli.recognition.devices import dtype_named

BLOCKS = 2  # Transformer blocks of the piece
TRIES = 3  # the fastest counts
# Recordings of the piece and their seconds: enough to keep each kind of device busy.
SIZES = {"cpu": (1, 2.0), "cuda": (6, 15.0)}


def training_flops(model: Wav2Vec2Config, device: torch.device, precision: str) -> float:
    """Return floating-point operations a second, forward and backward, timed on the device now.

    The piece has the feature encoder of the network and a few of its blocks; what it reaches is
    near what the whole network will. `precision`: `fp32`, `bf16` or `fp16`.
    """
    piece = replace(
        Wav2Vec2Config(),
        conv_layers=model.conv_layers,
        width=model.width,
        ffn_width=model.ffn_width,
        num_heads=model.num_heads,
        position_kernel=model.position_kernel,
        position_groups=model.position_groups,
        num_layers=min(model.num_layers, BLOCKS),
    )
    return _timed(piece, device, precision)


@lru_cache
def _timed(piece: Wav2Vec2Config, device: torch.device, precision: str) -> float:
    rows, seconds = SIZES[device.type]
    network = Wav2Vec2(piece).to(device).train()
    waveforms = torch.randn(rows, int(seconds * SAMPLE_RATE), device=device)
    lengths = torch.full((rows,), waveforms.shape[1])
    dtype, best = dtype_named(precision), math.inf
    for _ in range(TRIES):
        _finish(device)
        began = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            context, _ = network(waveforms, lengths, kept_blocks=[True] * piece.num_layers)
        context.float().square().mean().backward()
        _finish(device)
        best = min(best, time.perf_counter() - began)
    return rows * 3 * sum(piece.forward_flops(waveforms.shape[1])) / best


def _finish(device: torch.device) -> None:
    """Wait until the device has no work left."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
