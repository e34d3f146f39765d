"""The acoustic model on its device: waveforms in, log-probabilities out.

Shapes: B batch, S samples, T frames, V labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.checkpoint import Checkpoint, build_ctc
from models.inference import prepare_for_inference
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.recognition.devices import Precision, resolve_device, resolve_precision

BATCH_SECONDS = {"cpu": 1.0, "cuda": 320.0}  # a CPU is busy with one utterance, a GPU wants many


@dataclass(frozen=True)
class AcousticModel:
    """A CTC model that is ready to run: its weights are on `device` in `dtype`."""

    network: Wav2Vec2ForCTC
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, device: str = "auto", precision: Precision = "auto"
    ) -> AcousticModel:
        """Put a checkpoint on a device (`auto`, `cpu`, `cuda`, `cuda:1`) in a precision.

        Raises UsageError for a device or precision that this machine does not have, CheckpointError
        for a checkpoint without an output layer.
        """
        place = resolve_device(device)
        dtype = resolve_precision(precision, place)
        return cls(prepare_for_inference(build_ctc(checkpoint), place, dtype), place, dtype)

    @property
    def batch_seconds(self) -> float:
        """Seconds of audio in a batch where the user names no number."""
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
