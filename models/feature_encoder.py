"""The feature encoder: a waveform becomes one latent vector every 20 ms (paper §2, §4.2).

Shapes: B batch, S samples, T steps, C channels. Everything here keeps channels last, (B, T, C). A
strided convolution is then a sum of plain matrix products over views of its input: several times
faster on a CPU than a one-dimensional convolution, and without a change of layout between blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import Wav2Vec2Config

NORM_EPS = 1e-5  # in every norm of the network (R)


class FeatureEncoder(nn.Module):
    """Seven convolutions with GELU; waveforms (B, S) become features (B, T, C)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        channels = [1, *(channels for channels, _, _ in config.conv_layers)]
        self.config = config
        blocks = []
        for i, (_, kernel, stride) in enumerate(config.conv_layers):
            norm: nn.GroupNorm | nn.LayerNorm | None = None
            if config.conv_norm == "layer":
                norm = nn.LayerNorm(channels[i + 1], eps=NORM_EPS)
            elif i == 0:
                norm = nn.GroupNorm(channels[i + 1], channels[i + 1], eps=NORM_EPS)
            conv = nn.Conv1d(channels[i], channels[i + 1], kernel, stride, bias=config.conv_bias)
            if not conv.weight.is_meta:  # there torch imports its compiler, which takes seconds
                nn.init.kaiming_normal_(conv.weight)
            blocks.append(ConvBlock(conv, norm))
        self.layers: Sequence[ConvBlock] = nn.ModuleList(blocks)  # type: ignore[assignment]

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) waveforms, (B,) samples in each -> (B, T, C).

        T is the number of frames of the longest utterance. The values of padding frames are
        meaningless.
        """
        frames = [int(lengths.max())]
        for layer in self.layers:
            frames.append(layer.frames(frames[-1]))
        moments = None
        if self.config.conv_norm == "group":
            # Before fitting, which may cut samples that frames of the first block still see.
            moments = self.layers[0].moments(waveforms, lengths)
        x = _fit(waveforms, self._exact_samples(frames[-1])).unsqueeze(-1)
        # The waveform itself stays float32 for its statistics.
        x = x.to(self.layers[0].conv.weight.dtype)
        for layer in self.layers:
            x = layer(x, moments)
        return x

    def _exact_samples(self, frames: int) -> int:
        """Samples for which every block's input is whole strides (see `ConvBlock.convolve`)."""
        for layer in reversed(self.layers):
            frames = layer.steps_for(frames)
        return frames


class ConvBlock(nn.Module):
    """One convolution, its norm if it has one, and GELU."""

    def __init__(self, conv: nn.Conv1d, norm: nn.GroupNorm | nn.LayerNorm | None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.kernel, self.stride = conv.kernel_size[0], conv.stride[0]
        self.chunks = -(-self.kernel // self.stride)  # strides that one kernel spans

    def frames(self, steps: int) -> int:
        """Outputs that `steps` input steps give."""
        return max((steps - self.kernel) // self.stride + 1, 0)

    def steps_for(self, frames: int) -> int:
        """Input steps, a multiple of the stride, that give exactly `frames` outputs."""
        return self.stride * (frames + self.chunks - 1)

    def forward(self, x: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, steps, C_in) -> (B, frames, C_out).

        moments: mean and covariance of the waveforms' frames; needed by a group norm only.
        """
        if isinstance(self.norm, nn.GroupNorm):
            assert moments is not None
            return _gelu(self._group_normed(x, *moments))
        y = self.convolve(x)
        if self.norm is not None:
            y = F.layer_norm(y, y.shape[-1:], self.norm.weight, self.norm.bias, NORM_EPS)
        return _gelu(y)

    def convolve(self, x: Tensor) -> Tensor:
        """(B, stride · (T + chunks - 1), C_in) -> (B, T, C_out).

        The input is read as (B, T + chunks - 1, stride · C_in): one row for each stride. A kernel
        spans `chunks` rows, and an output is the sum of these rows, each times its part of the
        kernel. No frame is ever copied.
        """
        batch, steps, channels = x.shape
        rows = x.reshape(batch, steps // self.stride, self.stride * channels)
        count = rows.shape[1] - self.chunks + 1
        taps = self.conv.weight.permute(2, 1, 0)  # (C_out, C_in, k) -> (k, C_in, C_out)
        y = None
        for i, part in enumerate(taps.split(self.stride)):
            part = part.reshape(-1, part.shape[-1])  # (taps · C_in, C_out)
            window = rows[:, i : i + count, : part.shape[0]]
            if y is None:
                y = window @ part
            elif torch.is_grad_enabled():
                y = y + window @ part
            else:
                y.baddbmm_(window.to(y.dtype), part.to(y.dtype).expand(batch, -1, -1))
        assert y is not None  # a kernel has at least one tap
        return y if self.conv.bias is None else y + self.conv.bias.to(y.dtype)

    def moments(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S), (B,) -> mean (B, k) and covariance (B, k, k) of the frames the kernel sees.

        In float64. Only frames that lie within an utterance's own samples count.
        """
        frames = waveforms.unfold(1, self.kernel, self.stride)  # (B, T, k)
        count = (lengths.to(frames.device, non_blocking=True) - self.kernel) // self.stride + 1
        valid = (torch.arange(frames.shape[1], device=frames.device) < count[:, None]).unsqueeze(-1)
        with torch.autocast(frames.device.type, enabled=False):
            total = count.double()[:, None]
            mean = (frames.double() * valid).sum(1) / total
            centred = (frames.double() - mean.unsqueeze(1)) * valid
            return mean, centred.transpose(1, 2) @ centred / total.unsqueeze(-1)

    def _group_normed(self, x: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        """The convolution of a one-channel input followed by its norm over time.

        With m and Σ the mean and covariance of the frames f, the mean and variance of w·f are w·m
        and w·Σ·w. So the norm becomes a scale of the kernel and a bias, different for each
        utterance, and the large output is written only once. Padding has no part in m and Σ, so it
        cannot change a result.
        """
        assert isinstance(self.norm, nn.GroupNorm)
        with torch.autocast(x.device.type, enabled=False):
            kernel = self.conv.weight.squeeze(1).double()  # (C, k)
            variance = torch.einsum("ck,bkl,cl->bc", kernel, covariance, kernel).clamp(min=0)
            scale = self.norm.weight.double() / (variance + self.norm.eps).sqrt()  # (B, C)
            # A bias of the convolution would shift all frames alike, and the norm removes that.
            bias = self.norm.bias.double() - scale * (mean @ kernel.T)
            kernels = (kernel * scale.unsqueeze(-1)).transpose(1, 2)  # (B, k, C)
        frames = x.squeeze(-1).unfold(1, self.kernel, self.stride)  # (B, T, k)
        return torch.baddbmm(bias.unsqueeze(1).to(x.dtype), frames, kernels.to(x.dtype))


def _fit(waveforms: Tensor, samples: int) -> Tensor:
    """Cut or zero-pad (B, S) to `samples`."""
    return F.pad(waveforms[:, :samples], (0, max(samples - waveforms.shape[1], 0)))


def _gelu(x: Tensor) -> Tensor:
    """GELU, in place without gradients: block outputs are the network's largest tensors."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)
