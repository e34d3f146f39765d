"""The context network: a Transformer whose positions come from a convolution (paper §2, §4.2).

Shapes: B batch, T frames, D width, H heads. Padding frames never influence a valid one: they are
zero for the positional convolution, as its own padding is, and hidden from attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.adapters import AttentionAdapter
from models.config import Wav2Vec2Config
from models.feature_encoder import NORM_EPS

# With narrower groups oneDNN's bfloat16 convolution returns garbage (torch 2.11, CPUs with AMX).
NARROWEST_BF16_GROUP = 16  # channels


class ContextNetwork(nn.Module):
    """A convolution adds relative positions, then Transformer blocks; LayerDrop skips some."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        # Whether the backward pass computes each block's activations again instead of keeping them.
        self.recompute = False
        self.position = PositionalConvolution(
            config.width, config.position_kernel, config.position_groups
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if not module.weight.is_meta:  # see FeatureEncoder
                    nn.init.normal_(module.weight, std=0.02)  # as BERT (R)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        valid: Tensor | None,
        kept: Sequence[bool] | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D).

        valid: (B, T) bool, true where a frame is not padding; None where none is.
        kept: which blocks run; by default all, and in training those that LayerDrop draws.
        layer: return the output of this block, counted from 1, or with 0 what enters the first.
        """
        if kept is None and self.training:
            kept = draw_kept(len(self.blocks), self.config.layer_drop)
        if valid is not None:
            x = x * valid.unsqueeze(-1)
        x = x + self.position(x)
        if self.config.norm_order == "post":
            x = self.norm(x)
        x = F.dropout(x, self.config.dropout, self.training)
        # (B, 1, 1, T): the keys that may be attended to
        attend = None if valid is None else valid[:, None, None, :]
        for i, block in enumerate(self.blocks):
            if i == layer:
                return x
            if kept is not None and not kept[i]:
                continue
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, attend, use_reentrant=False)
            else:
                x = block(x, attend)
        return self.norm(x) if self.config.norm_order == "pre" else x


def draw_kept(
    blocks: int, layer_drop: float, generator: torch.Generator | None = None
) -> list[bool]:
    """LayerDrop: which blocks run. Each is skipped with probability `layer_drop`.

    Drawn on the CPU, where the caller needs to know it.
    """
    return [draw >= layer_drop for draw in torch.rand(blocks, generator=generator).tolist()]


class PositionalConvolution(nn.Module):
    """A wide grouped convolution over time and a GELU; weight norm over the kernel axis."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.folded: Tensor | None
        self.kernel, self.groups = kernel, groups
        self.weight_v = nn.Parameter(torch.empty(width, width // groups, kernel))
        lengths = torch.empty(1, 1, kernel)
        if not self.weight_v.is_meta:  # see FeatureEncoder
            nn.init.normal_(self.weight_v, std=(4.0 / (kernel * width)) ** 0.5)  # (R)
            lengths = self.weight_v.detach().norm(dim=(0, 1), keepdim=True)
        self.weight_g = nn.Parameter(lengths)  # (1, 1, k)
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("folded", None, persistent=False)

    def fold(self) -> None:
        """Keep the kernel as one tensor from now on: for networks that are not trained further."""
        self.folded = self.weight().detach().contiguous()

    def weight(self) -> Tensor:
        """The kernel (D, D / groups, k): `weight_g` is the length of each of its k slices."""
        if self.folded is not None:
            return self.folded
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D). The extra frame that an even kernel gives is dropped."""
        weight = self.weight()
        if x.device.type == "cpu" and x.shape[-1] // self.groups < NARROWEST_BF16_GROUP:
            with torch.autocast("cpu", enabled=False):
                return self._convolved(x.float(), weight.float(), self.bias.float()).to(x.dtype)
        return self._convolved(x, weight, self.bias)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Computed as a convolution of images of height 1 with channels last, x's own layout.
        image = x.transpose(1, 2).unsqueeze(2)  # (B, D, 1, T)
        padding = (0, self.kernel // 2)
        y = F.conv2d(image, weight.unsqueeze(2), bias, padding=padding, groups=self.groups)
        return F.gelu(y[..., : x.shape[1]].squeeze(2).transpose(1, 2))


class Block(nn.Module):
    """Attention and a feed-forward part, each with a residual sum and a norm, after or before."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.pre_norm = config.norm_order == "pre"
        self.dropout = config.dropout
        self.attention = Attention(config.width, config.num_heads, config.attention_dropout)
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.feed_forward = FeedForward(config.width, config.ffn_width, config.activation_dropout)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.adapter: AttentionAdapter | None = None
        if config.attention_adapter:
            self.adapter = AttentionAdapter(config.width, config.attention_adapter)

    def forward(self, x: Tensor, attend: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D). attend: (B, 1, 1, T), keys that may be attended to; None: all."""
        if self.pre_norm:
            x = x + self._drop(self.attention(self.attention_norm(x), attend))
            x = x + self._drop(self.feed_forward(self.feed_forward_norm(x)))
            return x if self.adapter is None else x + self.adapter(x)
        x = self.attention_norm(x + self._drop(self.attention(x, attend)))
        return self.feed_forward_norm(x + self._drop(self.feed_forward(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def attention_by_parts(query: Tensor, key: Tensor, value: Tensor, attend: Tensor | None) -> Tensor:
    """Attention as three operations, (B, H, T, D/H) each -> (B, H, T, D/H).

    On a CPU in bfloat16 the products run by the processor's own instructions, and PyTorch's fused
    kernel does not: with its gradients this takes 0.6 of the time. It keeps (B, H, T, T) weights
    for the backward pass, which the fused one computes again.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if attend is not None:
        scores = scores.masked_fill(~attend, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).to(value.dtype) @ value


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, attend: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        if self.training and not dropout and query.dtype == torch.bfloat16 and not query.is_cuda:
            y = attention_by_parts(query, key, value, attend)
        else:
            y = F.scaled_dot_product_attention(
                query, key, value, attn_mask=attend, dropout_p=dropout
            )
        return self.output(y.transpose(1, 2).flatten(2))  # (B, H, T, D/H) -> (B, T, D)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, H, T, D/H)


class FeedForward(nn.Module):
    """Two linear maps around a GELU."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.contract(F.dropout(F.gelu(self.expand(x)), self.dropout, self.training))
