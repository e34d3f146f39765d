"""What fine-tuning minimises."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from w2v2cli.data.dataset import Batch


def ctc_loss(logits: Tensor, frames: Tensor, batch: Batch, blank: int) -> Tensor:
    """The CTC loss of (B, T, V) logits summed over the utterances of a batch, in nats (paper §3.3).

    frames: (B,) valid frames of each. Float32 whatever the logits are; a loss without any path counts as zero (R).
    """
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (T, B, V)
    return F.ctc_loss(
        log_probs,
        batch.labels,
        frames,
        batch.label_lengths,
        blank=blank,
        reduction="sum",
        zero_infinity=True,
    )
