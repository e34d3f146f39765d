"""Self-supervised pretraining: the network with a quantizer and two projections (paper §2, §3).

Shapes: B utterances, S samples, T frames, C encoder channels, F width of the comparison, G
codebooks, V entries; n masked steps of the whole batch, N masked steps of the utterance that has
most, K distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import Wav2Vec2Config
from models.feature_encoder import NORM_EPS, FeatureEncoder
from models.losses import (
    Contrast,
    Diversity,
    contrastive_loss,
    diversity_loss,
    feature_penalty,
    sample_distractors,
    scale_gradient,
)
from models.masking import SpanMask, frames_valid, sample_time_mask, sent
from models.quantizer import GumbelQuantizer, Quantized, code_perplexities, perplexities
from models.wav2vec2 import Wav2Vec2


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
    batch_distractors: int = 0
    """Further distractors, from the masked steps of all utterances of a micro-batch (ablation). The
    similarities of all n steps with all n are then one matrix."""
    distractors_anywhere: bool = False
    """Whether distractors are frames masked or not, instead of masked ones only (ablation)."""
    edge_steps: int = 0
    """U: only the first U masked steps from either end of a span are predicted; 0 predicts all
    (ablation)."""
    gumbel_noise: bool = True
    """Whether codebook entries are chosen with Gumbel noise (ablation)."""
    target_gradient: bool = True
    """Whether the targets' gradient reaches the feature encoder (ablation). The ablations are those
    of P App. F, table 13."""

    def __post_init__(self) -> None:
        for name in ("distractors", "batch_distractors", "edge_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative, got {getattr(self, name)}")
        if not self.distractors + self.batch_distractors:
            raise ValueError("distractors and batch_distractors cannot both be 0")
        if not self.mask.time_probability:
            raise ValueError("pretraining predicts masked frames: time_probability is above 0")


@dataclass(frozen=True)
class Candidates:
    """The frames that targets are computed for, where these are not the predicted steps.

    A row is an utterance; with distractors from the whole batch the batch is one row.
    """

    frames: Tensor
    """(m,) int64: the candidates as places in (B · T)."""
    slots: Tensor
    """(m,) int64: the place of each in (rows · C), C the candidates of the row that has most."""
    own: Tensor
    """(rows, N) int64: the place of each predicted step along C."""
    spread: Tensor
    """(rows, C) bool: true where a row has a candidate."""
    hidden: Tensor
    """(h,) int64: the masked ones, as places in (m)."""

    def to(self, device: torch.device) -> Candidates:
        """Copy to a device without waiting for it."""
        return Candidates(*(sent(getattr(self, item.name), device) for item in fields(self)))


@dataclass(frozen=True)
class MaskedSteps:
    """The hidden frames of a batch, and the distractors of each."""

    mask: Tensor
    """(B, T) bool, true where hidden."""
    frames: Tensor
    """(n,) int64: the hidden frames that are predicted, as places in (B · T)."""
    slots: Tensor
    """(n,) int64: the place of each in (B · N)."""
    valid: Tensor
    """(B, N) bool: true where a row has a step."""
    distractors: Tensor
    """(B, N, K) int64: places along N, or among the candidates where these differ."""
    candidates: Candidates | None = None
    """None where every hidden frame is predicted, and no other has a target."""

    @classmethod
    def draw(cls, frames: Tensor, objective: Objective, generator: torch.Generator) -> MaskedSteps:
        """Draw a mask and distractors on the CPU, where the sizes of the results are needed.

        frames: (B,) valid frames of each utterance.
        """
        mask = sample_time_mask(frames, int(frames.max()), objective.mask, generator)
        if objective.batch_distractors or objective.distractors_anywhere or objective.edge_steps:
            return _drawn_among_candidates(mask, frames, objective, generator)
        counts = mask.sum(1)
        valid = frames_valid(counts, int(counts.max()), counts.device)
        return cls(
            mask,
            _places(mask),
            _places(valid),
            valid,
            sample_distractors(counts, valid.shape[1], objective.distractors, generator),
        )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def targets(self) -> Tensor:
        """(m,) int64: the frames that targets are computed for, as places in (B · T)."""
        return self.frames if self.candidates is None else self.candidates.frames

    def to(self, device: torch.device) -> MaskedSteps:
        """Copy to a device without waiting for it."""
        among = self.candidates
        return MaskedSteps(
            sent(self.mask, device),
            sent(self.frames, device),
            sent(self.slots, device),
            sent(self.valid, device),
            sent(self.distractors, device),
            None if among is None else among.to(device),
        )


def _drawn_among_candidates(
    mask: Tensor, frames: Tensor, objective: Objective, generator: torch.Generator
) -> MaskedSteps:
    """Steps of the ablations in which predicted steps and candidates for distractors differ."""
    present = frames_valid(frames, mask.shape[1], mask.device)
    predicted = _edges(mask, present, objective.edge_steps) if objective.edge_steps else mask
    eligible = present if objective.distractors_anywhere else mask
    counts, totals = predicted.sum(1), eligible.sum(1)
    valid = frames_valid(counts, int(counts.max()), counts.device)
    spread = frames_valid(totals, int(totals.max()), totals.device)
    places, slots = _places(predicted), _places(valid)
    own = (eligible.long().cumsum(1) - 1).flatten()[places]  # (n,), in each row from 0
    own = _spread(own, slots, *valid.shape)
    distractors = sample_distractors(totals, valid.shape[1], objective.distractors, generator, own)
    if objective.batch_distractors:
        # The whole batch as one row: places among the candidates of all utterances.
        first = (totals.cumsum(0) - totals)[:, None]
        own = (own + first).flatten()[slots][None]
        alike = (distractors + first.unsqueeze(-1)).flatten(0, 1)[slots][None]
        everyone = totals.sum()[None]
        drawn = sample_distractors(
            everyone, len(slots), objective.batch_distractors, generator, own
        )
        distractors = torch.cat([alike, drawn], -1)
        valid, spread = torch.ones_like(own, dtype=torch.bool), spread[spread][None]
        slots = _places(valid)
    among = _places(eligible)
    hidden = _places(mask.flatten()[among])
    return MaskedSteps(
        mask,
        places,
        slots,
        valid,
        distractors,
        Candidates(among, _places(spread), own, spread, hidden),
    )


def _edges(mask: Tensor, present: Tensor, steps: int) -> Tensor:
    """The masked frames at most `steps` from a frame that is not masked; all (B, T) bool.

    An utterance that is masked whole has no such frame, and all of it is predicted.
    """
    seen = (present & ~mask).float().unsqueeze(1)
    near = F.max_pool1d(seen, 2 * steps + 1, 1, steps).squeeze(1) > 0
    return mask & (near | ~seen.squeeze(1).any(1, keepdim=True))


def _places(mask: Tensor) -> Tensor:
    """The places of the true values of a mask, over all its dimensions."""
    return mask.flatten().nonzero().squeeze(1)


class Prediction(NamedTuple):
    """The network's output for the masked steps of a batch.

    A tuple, since torch's FSDP looks for tensors in an output, and not in a dataclass.
    """

    context: Tensor
    """(n, F): projected context vectors."""
    targets: Tensor
    """(m, F): projected targets of the candidates, by default the same steps."""
    penalty: Tensor
    """L_f; a scalar."""
    quantized: tuple[Quantized, ...]
    """The choices of each quantizer: of the masked steps' targets, then of the inputs; empty if
    both are continuous."""
    codes: Tensor | None = None
    """(m, G) the entries behind quantized targets."""


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
        if config.target_glu:
            self.target_glu = nn.Sequential(
                nn.Linear(config.target_width, 2 * config.target_width), nn.GLU()
            )
        if config.separate_encoders:
            self.target_encoder = FeatureEncoder(config)
            self.target_norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        steps: MaskedSteps,
        *,
        temperature: float | None = None,
        noise: Sequence[Tensor | None] = (None, None),
        encoder_gradient: float = 1.0,
        target_gradient: bool = True,
        kept_blocks: Sequence[bool] | None = None,
    ) -> Prediction:
        """Context and targets at the n hidden frames.

        waveforms: (B, S) at 16 kHz.
        lengths: (B,) samples of each, on the CPU.
        steps: the hidden frames.
        temperature: that of the Gumbel softmax, see `GumbelQuantizer`.
        noise: Gumbel noise for the targets (m, G, V) and for quantized inputs (B · T, G, V).
        encoder_gradient: γ, the scale of the gradient into the feature encoder.
        target_gradient: whether the targets' gradient goes into the feature encoder.
        kept_blocks: see `Wav2Vec2`.
        """
        net = self.wav2vec2
        frames = net.frame_lengths(lengths)
        features = scale_gradient(net.encode(waveforms, lengths), encoder_gradient)
        valid = frames_valid(frames, features.shape[1], features.device)
        penalty = feature_penalty(features, valid)
        normed = net.feature_norm(features)
        inputs, chosen = net.inputs(normed, temperature, noise[1])
        context = net.contextualise(net.hide(inputs, steps.mask), frames, kept_blocks)
        # (B, T, D) -> (n, F)
        context = self.context_projection(context.flatten(0, 1).index_select(0, steps.frames))
        if self.config.separate_encoders:
            features = net.encode(waveforms, lengths, self.target_encoder)
            features = scale_gradient(features, encoder_gradient)
            penalty = (penalty + feature_penalty(features, valid)) / 2
            normed = self.target_norm(features)
        # (B, T, C) -> (m, C), from the features before masking
        latent = normed.flatten(0, 1).index_select(0, steps.targets)
        latent = latent if target_gradient else latent.detach()
        latent = F.dropout(latent, self.config.quantizer_dropout, self.training)
        quantized, codes = () if chosen is None else (chosen,), None
        if self.config.quantized_targets:
            target = self.quantizer(latent, temperature, noise[0])
            latent, codes = target.vectors, target.codes
            quantized = (_of_masked(target, steps), *quantized)
        latent = self.target_projection(latent)
        if self.config.target_glu:
            latent = self.target_glu(latent)
        return Prediction(context, latent, penalty, quantized, codes)

    def codes(self, waveforms: Tensor, lengths: Tensor) -> Tensor | None:
        """(B, T, G) the codebook entries that stand for the frames; None without a quantizer.

        waveforms, lengths: see `forward`. Those of the targets, or else of quantized inputs; the
        likeliest ones, as there is no noise.
        """
        net, config = self.wav2vec2, self.config
        if config.quantized_targets and config.separate_encoders:
            normed = self.target_norm(net.encode(waveforms, lengths, self.target_encoder))
        else:
            normed = net.feature_norm(net.encode(waveforms, lengths))
        if not config.quantized_targets:
            _, chosen = net.inputs(normed, None, None)
            return None if chosen is None else chosen.codes.unflatten(0, normed.shape[:2])
        return self.quantizer(normed.flatten(0, 1)).codes.unflatten(0, normed.shape[:2])


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


def pretraining_losses(prediction: Prediction, steps: MaskedSteps, objective: Objective) -> Losses:
    """L and its parts."""
    slots, shape, own = steps.slots, steps.valid.shape, None
    if steps.candidates is not None:
        among = steps.candidates
        slots, shape, own = among.slots, among.spread.shape, among.own
    codes = prediction.codes
    contrast = contrastive_loss(
        _spread(prediction.context, steps.slots, *steps.valid.shape),
        _spread(prediction.targets, slots, *shape),
        steps.distractors,
        steps.valid,
        temperature=objective.similarity_temperature,
        codes=None if codes is None else _spread(codes, slots, *shape),
        own=own,
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


def _of_masked(targets: Quantized, steps: MaskedSteps) -> Quantized:
    """The choices at masked steps, which L_d counts (R), among those of all candidates."""
    if steps.candidates is None:
        return targets
    hidden = steps.candidates.hidden
    return Quantized(
        *(getattr(targets, item.name).index_select(0, hidden) for item in fields(targets))
    )


def _spread(flat: Tensor, slots: Tensor, rows: int, size: int) -> Tensor:
    """(n, ...), all utterances one after the other -> (B, N, ...), padded with zeros."""
    padded = flat.new_zeros(rows * size, *flat.shape[1:])
    return padded.index_copy(0, slots, flat).unflatten(0, (rows, size))
