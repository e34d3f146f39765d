"""What a training run minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.masking import SpanMask
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.dataset import Batch


def ctc_objective(
    model: Wav2Vec2ForCTC, batch: Batch, blank: int, mask: SpanMask, precision: str
) -> tuple[Tensor, int]:
    """The CTC loss of a batch summed over its utterances, in nats, and the number of labels it is spread over.

    The forward runs under autocast for `bf16`; the loss is float32 always (paper §3.3).
    """
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits, frames = model(batch.waveforms.to(device), batch.lengths.to(device), mask)
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (T, B, V)
    labels, lengths = batch.labels.to(device), batch.label_lengths.to(device)
    loss = F.ctc_loss(log_probs, labels, frames, lengths, blank=blank, reduction="sum", zero_infinity=True)
    return loss, int(batch.label_lengths.sum())
