"""Adapters: small networks beside the Transformer of published models.

Shapes: B batch, T frames, D width, W width of the output.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ADAPTER_PADDING, Wav2Vec2Config
from models.feature_encoder import NORM_EPS
from models.masking import frames_valid


class AttentionAdapter(nn.Module):
    """What one language adds to the end of a block (MMS: arXiv 2305.13516, section 5.2).

    A norm, a narrow layer, a ReLU and the way back.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.reduce = nn.Linear(width, inner)
        self.expand = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D), to be added to x."""
        return self.expand(F.relu(self.reduce(self.norm(x))))


class ConvolutionalAdapter(nn.Module):
    """Convolutions after the Transformer that leave fewer frames (transformers' `add_adapter`).

    Padding never influences a valid frame: before each convolution it is zero, as the convolution's
    own padding is. transformers skips layers in training by LayerDrop, which changes how many
    frames there are; here they all run.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        width = config.output_width
        self.projection = self.norm = None
        if width != config.width:
            self.projection = nn.Linear(config.width, width)
            self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.layers = nn.ModuleList(
            nn.Conv1d(
                width,
                2 * width,
                config.adapter_kernel,
                stride=config.adapter_stride,
                padding=ADAPTER_PADDING,
            )
            for _ in range(config.adapter_layers)
        )

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) frames of each -> (B, T', W), (B,) frames of each after it."""
        if self.projection is not None and self.norm is not None:
            x = self.norm(self.projection(x))
        for layer in self.layers:
            x = F.glu(layer(_silenced(x, frames).transpose(1, 2)), dim=1).transpose(1, 2)
            frames = self.config.adapted_lengths(frames, layers=1)
        return x, frames


def _silenced(x: Tensor, frames: Tensor) -> Tensor:
    """(B, T, W) with zeros where (B,) frames have ended."""
    if bool((frames == x.shape[1]).all()):
        return x
    return x * frames_valid(frames, x.shape[1], x.device).unsqueeze(-1)
