"""The acoustic model on the CPU in each precision, and its seconds."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.config import PRESETS, SAMPLE_RATE
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.recognition.acoustic_model import AcousticModel

PRECISIONS = ("fp32", "bf16", "int8", "w8")
CPU = torch.device("cpu")
NOISE_SECONDS, REPEATS = 10, 3  # of what BASE hears, and how often


@dataclass(frozen=True)
class Timed(AcousticModel):
    """An acoustic model that keeps the CPU seconds of each of its calls."""

    spent: list[float] = field(default_factory=list)

    def log_probs(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `AcousticModel.log_probs`."""
        began = time.process_time()
        found = super().log_probs(waveforms)
        self.spent.append(time.process_time() - began)
        return found


def in_eight_bits(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Weights as a file in 8 bits gives them back, and the bytes of that file.

    A matrix or kernel has an integer of 8 bits for each number and a float32 for each row, what is
    smaller is stored as float16.
    """
    found, size = {}, 0
    for name, weight in weights.items():
        if weight.ndim < 2 or not weight.is_floating_point():
            found[name], size = weight, size + 2 * weight.numel()
            continue
        rows = weight.flatten(1)  # (rows, the rest)
        scale = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(1e-12)
        whole = (rows / scale).round()
        found[name] = (whole * scale).reshape(weight.shape)
        size += whole.numel() + 4 * len(scale)
    return found, size


def loaded(checkpoint: Checkpoint, precision: str) -> Timed:
    """The model of a checkpoint in one of `PRECISIONS`, on the CPU."""
    if precision in ("fp32", "bf16"):
        return Timed.load(checkpoint, "cpu", precision)  # type: ignore[arg-type, return-value]
    if precision == "w8":
        weights, _ = in_eight_bits(checkpoint.weights)
        return loaded(replace(checkpoint, weights=weights), "fp32")
    plain = loaded(checkpoint, "fp32")
    with warnings.catch_warnings():  # torch gives it up for another package
        warnings.simplefilter("ignore", DeprecationWarning)
        quantized = torch.ao.quantization.quantize_dynamic(
            plain.network, {nn.Linear}, dtype=torch.qint8
        )
    return Timed(quantized, CPU, torch.float32)


def base_seconds(precisions: Sequence[str]) -> dict[str, float]:
    """CPU seconds of BASE with random weights for 10 s of noise: the median, after a warm-up."""
    torch.manual_seed(0)
    config = PRESETS["base"]()
    weights = dict(Wav2Vec2ForCTC(config, 32).state_dict())
    checkpoint = Checkpoint(config, weights, tuple(map(str, range(32))))
    noise = torch.randn(NOISE_SECONDS * SAMPLE_RATE).numpy() * 0.1
    models = {precision: loaded(checkpoint, precision) for precision in precisions}
    for _ in range(1 + REPEATS):
        for model in models.values():
            model.log_probs([noise])
    return {name: statistics.median(model.spent[1:]) for name, model in models.items()}
