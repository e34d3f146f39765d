"""Self-supervised pretraining: the network with a quantizer and two projections (paper §2, §3).

Shapes: B utterances, S samples, T frames, C encoder channels, F width of the comparison, G
codebooks, V entries; n masked steps of the whole batch, N masked steps of the utterance that has
most, K distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import Wav2Vec2Config
from models.losses import (
    Contrast,
    Diversity,
    contrastive_loss,
    diversity_loss,
    feature_penalty,
    sample_distractors,
    scale_gradient,
)
from models.masking import SpanMask, sample_spans
from models.quantizer import GumbelQuantizer, Quantized, code_perplexities, perplexities
from models.wav2vec2 import Wav2Vec2, frames_valid


@dataclass(frozen=True)
class Objective:
    """The self-supervised objective L = L_m + α·L_d + β·L_f (P §3.2)."""

    mask: SpanMask = SpanMask(time_probability=0.065)
    """Which frames are hidden: p and M (P §4.2)."""
    distractors: int = 100
    """K (P §3.2)."""
    similarity_temperature: float = 0.1
    """κ (P §3.2)."""
    diversity_weight: float = 0.1
    """α (P §4.2)."""
    diversity: Diversity = "perplexity"
    """The definition of L_d (see `diversity_loss`)."""
    penalty_weight: float = 10.0
    """β (P §4.2; R: 0 for LARGE)."""
    encoder_gradient: float = 0.1
    """γ, the scale of the gradient into the feature encoder (P App. B)."""


@dataclass(frozen=True)
class MaskedSteps:
    """The hidden frames of a batch, and the distractors of each."""

    mask: Tensor
    """(B, T) bool, true where hidden."""
    frames: Tensor
    """(n,) int64: the hidden frames as places in (B · T)."""
    slots: Tensor
    """(n,) int64: the place of each in (B · N)."""
    valid: Tensor
    """(B, N) bool: true where a row has a step."""
    distractors: Tensor
    """(B, N, K) int64: places along N."""

    @classmethod
    def draw(cls, frames: Tensor, objective: Objective, generator: torch.Generator) -> MaskedSteps:
        """Draw a mask and distractors on the CPU, where the sizes of the results are needed.

        frames: (B,) valid frames of each utterance.
        """
        mask = sample_spans(
            frames,
            int(frames.max()),
            probability=objective.mask.time_probability,
            span=objective.mask.time_span,
            generator=generator,
        )
        counts = mask.sum(1)
        valid = torch.arange(int(counts.max())) < counts[:, None]
        return cls(
            mask,
            mask.flatten().nonzero().squeeze(1),
            valid.flatten().nonzero().squeeze(1),
            valid,
            sample_distractors(counts, valid.shape[1], objective.distractors, generator),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> MaskedSteps:
        """Copy to a device without waiting for it."""
        return MaskedSteps(
            *(getattr(self, item.name).to(device, non_blocking=True) for item in fields(self))
        )


@dataclass(frozen=True)
class Prediction:
    """The network's output for the masked steps of a batch."""

    context: Tensor
    """(n, F): projected context vectors."""
    targets: Tensor
    """(n, F): projected targets."""
    penalty: Tensor
    """L_f; a scalar."""
    quantized: tuple[Quantized, ...]
    """The choices of each quantizer: targets first, then inputs; empty if both are continuous."""


class Wav2Vec2ForPretraining(nn.Module):
    """`Wav2Vec2` with the targets that its context vectors are compared with at masked steps."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        self.wav2vec2 = Wav2Vec2(config)
        channels, width = config.conv_layers[-1][0], config.codebook_width
        if config.quantized_targets:
            self.quantizer = GumbelQuantizer(
                channels, config.codebooks, config.codebook_entries, width
            )
        self.context_projection = nn.Linear(config.width, config.target_width)
        self.target_projection = nn.Linear(
            width if config.quantized_targets else channels, config.target_width
        )

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        steps: MaskedSteps,
        *,
        temperature: float | None = None,
        noise: Sequence[Tensor | None] = (None, None),
        encoder_gradient: float = 1.0,
        kept_blocks: Sequence[bool] | None = None,
    ) -> Prediction:
        """Context and targets at the n hidden frames.

        waveforms: (B, S) at 16 kHz.
        lengths: (B,) samples of each, on the CPU.
        steps: the hidden frames.
        temperature: that of the Gumbel softmax, see `GumbelQuantizer`.
        noise: Gumbel noise for the targets (n, G, V) and for quantized inputs (B · T, G, V).
        encoder_gradient: γ, the scale of the gradient into the feature encoder.
        kept_blocks: see `Wav2Vec2`.
        """
        net = self.wav2vec2
        frames = net.frame_lengths(lengths)
        features = scale_gradient(net.encode(waveforms, lengths), encoder_gradient)
        penalty = feature_penalty(
            features, frames_valid(frames, features.shape[1], features.device)
        )
        normed = net.feature_norm(features)
        inputs, chosen = net.inputs(normed, temperature, noise[1])
        context = net.contextualise(net.hide(inputs, steps.mask), frames, kept_blocks)
        # (B, T, D) -> (n, F)
        context = self.context_projection(context.flatten(0, 1).index_select(0, steps.frames))
        # (B, T, C) -> (n, C), from the features before masking
        latent = normed.flatten(0, 1).index_select(0, steps.frames)
        latent = F.dropout(latent, self.config.quantizer_dropout, self.training)
        quantized = () if chosen is None else (chosen,)
        if self.config.quantized_targets:
            target = self.quantizer(latent, temperature, noise[0])
            latent, quantized = target.vectors, (target, *quantized)
        return Prediction(context, self.target_projection(latent), penalty, quantized)


@dataclass(frozen=True)
class Losses:
    """The parts of the objective for one batch; scalars on its device."""

    contrast: Contrast
    diversity: Tensor
    """L_d, the mean over the quantizers; 0 without any."""
    penalty: Tensor
    """L_f."""
    total: Tensor
    """n · L: the sum of L_m over the masked steps, plus the other parts n times (R)."""


def pretraining_losses(
    prediction: Prediction, steps: MaskedSteps, objective: Objective, targets: bool
) -> Losses:
    """L and its parts.

    targets: whether the targets are quantized, so that `prediction.quantized` begins with theirs.
    """
    rows, slots = steps.valid.shape
    codes = None
    if targets:
        codes = _spread(prediction.quantized[0].codes, steps.slots, rows, slots)
    contrast = contrastive_loss(
        _spread(prediction.context, steps.slots, rows, slots),
        _spread(prediction.targets, steps.slots, rows, slots),
        steps.distractors,
        steps.valid,
        temperature=objective.similarity_temperature,
        codes=codes,
    )
    diversity = torch.zeros((), device=contrast.loss.device)
    if prediction.quantized:
        parts = [diversity_loss(q.logits, objective.diversity) for q in prediction.quantized]
        diversity = torch.stack(parts).mean()
    rest = objective.diversity_weight * diversity + objective.penalty_weight * prediction.penalty
    return Losses(contrast, diversity, prediction.penalty, contrast.loss + len(steps) * rest)


def codebook_use(quantized: Quantized) -> dict[str, Tensor]:
    """How much of the codebooks a batch uses, as perplexities summed over the codebooks (R).

    `code_perplexity` counts the chosen entries, `prob_perplexity` averages their probabilities.
    """
    entries = quantized.logits.shape[-1]
    return {
        "code_perplexity": code_perplexities(quantized.codes, entries).sum(),
        "prob_perplexity": perplexities(quantized.logits.detach().softmax(-1)).sum(),
    }


def _spread(flat: Tensor, slots: Tensor, rows: int, size: int) -> Tensor:
    """(n, ...), all utterances one after the other -> (B, N, ...), padded with zeros."""
    padded = flat.new_zeros(rows * size, *flat.shape[1:])
    return padded.index_copy(0, slots, flat).unflatten(0, (rows, size))
