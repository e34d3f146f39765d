"""The acoustic model on its device: waveforms in, log-probabilities out.

Shapes: B batch, S samples, T frames, V labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from models.checkpoint import Checkpoint, build_ctc
from models.inference import prepare_for_inference
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.errors import UsageError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_SECONDS = {"cpu": 1.0, "cuda": 320.0}  # a CPU is busy with one utterance, a GPU wants many


@dataclass(frozen=True)
class AcousticModel:
    """A CTC model ready to run: its weights lie on `device` in `dtype`, its log-probabilities come back in float32."""

    network: Wav2Vec2ForCTC
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, device: str = "auto", precision: Precision = "auto"
    ) -> AcousticModel:
        """Put a checkpoint on a device (`auto`, `cpu`, `cuda`, `cuda:1`) in a precision; UsageError when it has none."""
        place = resolve_device(device)
        dtype = resolve_precision(precision, place)
        return cls(prepare_for_inference(build_ctc(checkpoint), place, dtype), place, dtype)

    @property
    def batch_seconds(self) -> float:
        """Audio in a batch when the caller names no figure."""
        return BATCH_SECONDS.get(self.device.type, BATCH_SECONDS["cuda"])

    def log_probs(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Each (S,) float32 at 16 kHz -> (T, V) float32 natural log-probabilities.

        A waveform too short for one frame gives (0, V). Batching never changes a result.
        """
        config = self.network.config
        emissions = [np.zeros((0, self.network.num_labels), np.float32) for _ in waveforms]
        spoken = [
            i for i, waveform in enumerate(waveforms) if config.frame_lengths(len(waveform)) > 0
        ]
        if not spoken:
            return emissions
        lengths = torch.tensor([len(waveforms[i]) for i in spoken])
        batch = torch.zeros(len(spoken), int(lengths.max()))
        for row, i in enumerate(spoken):
            batch[row, : len(waveforms[i])] = torch.from_numpy(waveforms[i])
        with torch.inference_mode():
            logits, frames = self.network(batch.to(self.device), lengths)
            result = logits.float().log_softmax(-1).cpu().numpy()
        for row, (i, length) in enumerate(zip(spoken, frames.tolist(), strict=True)):
            emissions[i] = result[row, :length]
        return emissions


def resolve_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU; anything else is taken at its word, or refused in a sentence."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine shows {torch.cuda.device_count()} GPUs; try --device cpu."
        )
    return device


def resolve_precision(name: Precision, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, and on a GPU bfloat16 where it is supported, else float16."""
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; on a CPU take fp32 or bf16.")
    if name != "auto":
        return DTYPES[name]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
