"""The losses of the paper, as functions of tensors (paper §3.2).

Shapes: B utterances, N masked steps of the utterance that has most, K distractors, F width of the
comparison, G codebooks, V entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.quantizer import perplexities

Diversity = Literal["perplexity", "entropy"]


@dataclass(frozen=True)
class Contrast:
    """The result of telling true latents from distractors."""

    loss: Tensor
    """L_m summed over the masked steps, in nats; a scalar."""
    correct: Tensor
    """How many masked steps the true latent won; a scalar."""


def sample_distractors(
    counts: Tensor,
    size: int,
    distractors: int,
    generator: torch.Generator | None = None,
    own: Tensor | None = None,
) -> Tensor:
    """Draw distractors for each masked step: other masked steps of the same utterance (P §3.2).

    Uniform, with replacement, never the step itself. The only masked step of an utterance gets
    itself, which the loss does not count.

    counts: (B,) candidates of each row: the masked steps of an utterance, unless `own` is given.
    size: N, steps of a row in the result.
    distractors: K.
    own: (B, N) place of each step among the candidates of its row, where candidates are not the
    steps themselves.

    Returns (B, N, K) int64 places among the candidates of the row, on the device of `counts`.
    """
    device = counts.device
    draws = torch.rand(len(counts), size, distractors, generator=generator, device=device)
    others = (counts - 1).clamp(min=0)[:, None, None]
    # draws < 1, but their product may be rounded up to `others`.
    places = torch.minimum((draws * others).long(), (others - 1).clamp(min=0))
    if own is None:
        own = torch.arange(size, device=device)[None, :]
    places = places + (places >= own.unsqueeze(-1)).long()
    return torch.minimum(places, (counts - 1).clamp(min=0)[:, None, None])


def contrastive_loss(
    context: Tensor,
    targets: Tensor,
    distractors: Tensor,
    valid: Tensor,
    *,
    temperature: float,
    codes: Tensor | None = None,
    own: Tensor | None = None,
) -> Contrast:
    """L_m: find the latent behind the mask among 1 + K, by cosine similarity (P §3.2, eq. 3).

    context: (B, N, F) at the masked steps.
    targets: (B, C, F) of the candidates of each row: by default the masked steps, so that C is N.
    distractors: (B, N, K) from `sample_distractors`.
    valid: (B, N) true where a row has a step.
    temperature: κ.
    codes: (B, C, G) the entries behind quantized targets.
    own: (B, N) place of each step among the candidates, where they are not the steps themselves.

    A distractor with the codes of the positive is the positive, so it does not count (R). A step
    without any distractor left has loss 0 and counts as wrong: otherwise a collapsed codebook would
    look perfect.
    """
    with torch.autocast(context.device.type, enabled=False):
        context, targets = (
            F.normalize(context.float(), dim=-1),
            F.normalize(targets.float(), dim=-1),
        )
        # All pairs of an utterance by one product, then K of them for each step: copying K vectors
        # of width F for each step would take far more memory.
        similarity = context @ targets.transpose(1, 2) / temperature  # (B, N, C)
        if own is None:
            positive = similarity.diagonal(dim1=1, dim2=2).unsqueeze(-1)  # (B, N, 1)
            own = torch.arange(context.shape[1], device=context.device).expand(len(context), -1)
        else:
            positive = similarity.gather(2, own.unsqueeze(-1))
        negative = similarity.gather(2, distractors)  # (B, N, K)
        same = distractors == own.unsqueeze(-1)
        if codes is not None:
            symbol = codes[..., 0]
            for g in range(1, codes.shape[-1]):
                symbol = symbol * (codes[..., g].max() + 1) + codes[..., g]
            rows = symbol.unsqueeze(1).expand(-1, context.shape[1], -1)
            same = same | (rows.gather(2, distractors) == symbol.gather(1, own).unsqueeze(-1))
        negative = negative.masked_fill(same, -torch.inf)
        losses = torch.cat([positive, negative], -1).logsumexp(-1) - positive.squeeze(-1)  # (B, N)
        right = (positive > negative).all(-1) & ~same.all(-1)
        return Contrast(losses.masked_fill(~valid, 0.0).sum(), (right & valid).sum())


def diversity_loss(logits: Tensor, definition: Diversity = "perplexity") -> Tensor:
    """L_d of (N, G, V) quantizer logits: low if a batch uses all entries of a codebook equally.

    p̄_g is the softmax of codebook g without Gumbel noise or temperature, averaged over N steps.

    definition: `perplexity` (R, the default everywhere) is (GV - Σ_g exp H(p̄_g)) / GV, in [0, 1);
    `entropy` (P §3.2, eq. 4) is Σ_g -H(p̄_g) / GV.

    Returns a scalar.
    """
    probabilities = logits.float().softmax(-1)
    size = logits.shape[-2] * logits.shape[-1]
    found = perplexities(probabilities)
    if definition == "perplexity":
        return (size - found.sum()) / size
    return -found.log().sum() / size


def feature_penalty(features: Tensor, valid: Tensor) -> Tensor:
    """L_f: the mean square of the feature encoder's output before its norm (R).

    features: (B, T, C). valid: (B, T), true for the frames that count.
    """
    squares = features.float().square().mean(-1)
    return squares.masked_fill(~valid, 0.0).sum() / valid.sum()


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None  # type: ignore[attr-defined]


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return `x`; its gradient is multiplied by `scale` (γ into the feature encoder, P App. B)."""
    if scale == 1.0:
        return x
    scaled: Tensor = _ScaledGradient.apply(x, scale)
    return scaled
