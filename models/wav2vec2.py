"""wav2vec 2.0: the network (`Wav2Vec2`) and its CTC head (`Wav2Vec2ForCTC`).

Shapes: B batch, S samples, T frames, C encoder channels, D width, V labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import Wav2Vec2Config
from models.context_network import ContextNetwork
from models.feature_encoder import NORM_EPS, FeatureEncoder
from models.masking import sample_spans


@dataclass(frozen=True)
class SpanMask:
    """How training hides parts of the input (paper §3.1; fine-tuning: App. B)."""

    time_probability: float
    """Share of frames that start a masked span."""
    time_span: int = 10
    """Frames in a span, M."""
    channel_probability: float = 0.0
    """Share of channels that start a span of channels set to zero."""
    channel_span: int = 64
    """Channels in a span."""


class Wav2Vec2(nn.Module):
    """Waveforms to context vectors: encode, project, mask, contextualise."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        channels = config.conv_layers[-1][0]
        self.feature_encoder = FeatureEncoder(config)
        self.feature_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.feature_projection = nn.Linear(channels, config.width)
        self.mask_vector = nn.Parameter(torch.empty(config.width).uniform_())
        self.context_network = ContextNetwork(config)

    def forward(self, waveforms: Tensor, lengths: Tensor, mask: SpanMask | None = None) -> tuple[Tensor, Tensor]:
        """(B, S) float waveforms at 16 kHz, (B,) samples in each -> (B, T, D), (B,) frames in each.

        What lies past an utterance's own samples never changes its result. Raises ValueError for an utterance
        too short for one frame.
        """
        frames = self._frame_lengths(lengths)
        features = self.encode(waveforms, lengths)
        projected = self.project(features)
        if mask is not None:
            projected = self.hide(projected, frames, mask)
        return self.contextualise(projected, frames), frames

    def encode(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) -> (B, T, C): the latent features z."""
        if self.config.normalize_waveform:
            waveforms = normalize(waveforms, lengths)
        return self.feature_encoder(waveforms, lengths)

    def project(self, features: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D): normalised and brought to the width of the context network."""
        return F.dropout(
            self.feature_projection(self.feature_norm(features)), self.config.feature_dropout, self.training
        )

    def hide(self, x: Tensor, frames: Tensor, mask: SpanMask) -> Tensor:
        """(B, T, D) -> (B, T, D) with spans of frames replaced by the trained vector and spans of channels by zero."""
        hidden = sample_spans(frames, x.shape[1], probability=mask.time_probability, span=mask.time_span)
        x = torch.where(hidden.unsqueeze(-1), self.mask_vector.to(x.dtype), x)
        if mask.channel_probability > 0:
            widths = torch.full_like(frames, x.shape[2])
            gone = sample_spans(widths, x.shape[2], probability=mask.channel_probability, span=mask.channel_span)
            x = x.masked_fill(gone.unsqueeze(1), 0.0)
        return x

    def contextualise(self, x: Tensor, frames: Tensor) -> Tensor:
        """(B, T, D), (B,) frames in each -> (B, T, D): the context vectors c."""
        valid = torch.arange(x.shape[1], device=x.device) < frames[:, None]
        return self.context_network(x, None if bool(valid.all()) else valid)

    def _frame_lengths(self, lengths: Tensor) -> Tensor:
        frames = self.config.frame_lengths(lengths)
        if bool((frames < 1).any()):
            shortest = int(lengths.min())
            raise ValueError(
                f"an utterance of {shortest} samples is too short: the model needs {self.config.receptive_field}"
            )
        return frames


class Wav2Vec2ForCTC(nn.Module):
    """`Wav2Vec2` with a linear output layer over the labels (paper §3.3)."""

    def __init__(self, config: Wav2Vec2Config, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.num_labels = num_labels
        self.wav2vec2 = Wav2Vec2(config)
        self.output = nn.Linear(config.width, num_labels)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, waveforms: Tensor, lengths: Tensor, mask: SpanMask | None = None) -> tuple[Tensor, Tensor]:
        """(B, S), (B,) -> logits (B, T, V), (B,) frames in each; see `Wav2Vec2.forward`."""
        states, frames = self.wav2vec2(waveforms, lengths, mask)
        return self.output(F.dropout(states, self.config.final_dropout, self.training)), frames


def normalize(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Each utterance of (B, S) to zero mean and unit variance over its own samples, zero past them (R)."""
    valid = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
    count = lengths[:, None]
    centred = (waveforms - (waveforms * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + NORM_EPS).sqrt()
