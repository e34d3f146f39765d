"""A decoder-only Transformer over words: fairseq's `transformer_lm`, pre-norm.

Legend: B sentences, T words, D width, H heads, N histories, L words of the longest one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm.transformer.adaptive import AdaptiveInput, AdaptiveSoftmax, band_rows, initialize
from lm.transformer.config import TransformerLMConfig
from lm.transformer.dictionary import PAD

FIRST_POSITION = PAD + 1  # as in fairseq, whose positions begin after the number of padding


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """(...) positions -> (..., width) float32: sines, then cosines, of falling frequencies.

    The frequencies are geometric from 1 to 1/10000, as in fairseq.
    """
    half = width // 2
    steps = torch.arange(half, device=positions.device, dtype=torch.float32)
    angles = positions.unsqueeze(-1).float() * torch.exp(
        steps * (-math.log(10_000) / max(1, half - 1))
    )
    return torch.cat([angles.sin(), angles.cos()], -1)


class Block(nn.Module):
    """A pre-norm block: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: TransformerLMConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_dropout = config.attention_dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        """Queries, keys and values, in this order."""
        self.attention_out = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.inner)
        self.down = nn.Linear(config.inner, width)
        self.activation: Callable[[Tensor], Tensor] = (
            F.relu if config.activation == "relu" else F.gelu
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); a word attends to itself and the words before it."""
        q, k, v = (self._split(part) for part in self.project(x))  # (B, H, T, D/H)
        rate = self.attention_dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        return self.finish(x, seen.transpose(1, 2).flatten(2))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., D) -> queries, keys and values, (..., D) each."""
        q, k, v = self.attention_in(self.attention_norm(x)).chunk(3, -1)
        return q, k, v

    def step(self, x: Tensor, q: Tensor, keys: Tensor, values: Tensor, beyond: Tensor) -> Tensor:
        """(N, D) words, each after a history of its own -> (N, D).

        q: (N, D) queries of the words. keys, values: (N, L, D), of the history and the word itself.
        beyond: (N, L) bool, true after the end of a history.
        """
        k, v = self._split(keys), self._split(values)  # (N, H, L, D/H)
        query = q.view(len(q), self.heads, 1, -1)  # (N, D) -> (N, H, 1, D/H)
        mask = torch.zeros(beyond.shape, dtype=q.dtype, device=q.device).masked_fill_(
            beyond, -math.inf
        )
        seen = F.scaled_dot_product_attention(query, k, v, attn_mask=mask[:, None, None])
        return self.finish(x, seen.flatten(1))

    def finish(self, x: Tensor, seen: Tensor) -> Tensor:
        """(..., D) input and result of the attention -> (..., D), the output of the block."""
        x = x + self.dropout(self.attention_out(seen))
        return x + self.dropout(self.down(self.activation(self.up(self.inner_norm(x)))))

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, D/H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TransformerNetwork(nn.Module):
    """Turns word numbers into the vectors from which `softmax` predicts the next word."""

    def __init__(self, config: TransformerLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = AdaptiveInput(config)
        self.softmax = AdaptiveSoftmax(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.final_norm = nn.LayerNorm(config.width) if config.final_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.tie()

    def tie(self) -> None:
        """Share tensors of input and softmax as configured; repeat it after assigning weights."""
        if self.config.tie_words:
            self.softmax.tie(self.embedding, self.config.tie_projections)

    def initialize(self) -> TransformerNetwork:
        """Draw random weights, as fairseq does: Xavier uniform and zero biases in the blocks."""
        initialize(self.embedding, self.softmax)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        return self

    def forward(self, tokens: Tensor, bands: Sequence[Tensor] | None = None) -> Tensor:
        """(B, T) word numbers, padded at the end -> (B, T, D).

        Padding changes nothing before it, since a word attends only to those before it. bands: see
        `AdaptiveInput`.
        """
        x = self.embed(tokens, torch.arange(tokens.shape[1], device=tokens.device), bands)
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x)

    def step(
        self,
        tokens: Tensor,
        places: Tensor,
        caches: Sequence[tuple[Tensor, Tensor]],
        rows: Tensor,
        table: Tensor,
        beyond: Tensor,
    ) -> Tensor:
        """(N,) words, each after a history of its own -> (N, D), the vectors of `forward` for them.

        places: (N,) number of words before each.
        caches: keys and values of each block, (capacity, D) each; those of the new words are
        written to them, at `rows`, (N,).
        table: (N, L) rows in the caches of a history and its word, in order.
        beyond: (N, L) bool, true after the end of a history.
        """
        x = self.embed(tokens, places)
        shape, flat = (*table.shape, -1), table.flatten()
        for block, (keys, values) in zip(self.blocks, caches, strict=True):
            assert isinstance(block, Block)
            q, k, v = block.project(x)
            keys[rows], values[rows] = k, v
            # (N·L, D) -> (N, L, D)
            x = block.step(x, q, keys[flat].view(shape), values[flat].view(shape), beyond)
        return self.final_norm(x)

    def embed(
        self, tokens: Tensor, places: Tensor, bands: Sequence[Tensor] | None = None
    ) -> Tensor:
        """(...) word numbers and the (...) number of words before each -> (..., D).

        bands: see `AdaptiveInput`.
        """
        scale = math.sqrt(self.config.width) if self.config.scale_embedding else 1.0
        vectors = self.embedding(tokens, bands) * scale
        return self.dropout(
            vectors + sinusoids(places + FIRST_POSITION, self.config.width).to(vectors.dtype)
        )


@dataclass(frozen=True)
class Places:
    """Where the words of (B, T + 1) blocks of text are, by which bands they belong to.

    Found before the blocks go to a device, which then is never waited for.
    """

    inputs: tuple[Tensor, ...]
    """For each band of the input, its words among the first (B · T)."""
    kept: Tensor
    """(n,) int64: the targets that are no padding, as places in (B · T)."""
    targets: tuple[Tensor, ...]
    """For each band of the softmax, its words among the n kept targets."""

    @classmethod
    def found(cls, tokens: Tensor, config: TransformerLMConfig) -> Places:
        """Find the places of (B, T + 1) blocks of text, on the device of `tokens`."""
        targets = tokens[:, 1:].flatten()
        kept = (targets != PAD).nonzero().squeeze(1)
        ends = (*(config.input_cutoffs or ()), config.vocabulary)
        return cls(
            band_rows(tokens[:, :-1].flatten(), ends),
            kept,
            band_rows(targets[kept], config.bands),
        )

    def moved(self, move: Callable[[Tensor], Tensor]) -> Places:
        """Return these places after `move` has brought each tensor to a device."""
        return Places(
            tuple(map(move, self.inputs)), move(self.kept), tuple(map(move, self.targets))
        )


def lm_objective(
    network: TransformerNetwork, tokens: Tensor, places: Places | None = None
) -> tuple[Tensor, int]:
    """(B, T + 1) blocks of text -> the sum of -log p of the last T words of each, and their number.

    The sum is in nats; padding is not counted. It is not a mean, since training averages over the
    words of all devices. places: those of the blocks, on their device; by default found here.
    """
    if places is None:
        places = Places.found(tokens, network.config)
    hidden = network(tokens[:, :-1], places.inputs).flatten(0, 1)
    targets, kept = tokens[:, 1:].flatten(), places.kept
    return network.softmax.loss(hidden[kept], targets[kept], places.targets), len(kept)
