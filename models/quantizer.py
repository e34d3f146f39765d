"""The product quantizer: a latent vector becomes one entry from each of G codebooks (paper §2, "Quantization module").

Shapes: N vectors, C channels, G codebooks, V entries in each, E = d/G width of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALLEST = 1e-20  # probability


@dataclass(frozen=True)
class Quantized:
    """What the quantizer made of N vectors."""

    vectors: Tensor
    """(N, G·E): the chosen entries, side by side."""
    codes: Tensor
    """(N, G) int64: which entry of each codebook."""
    logits: Tensor
    """(N, G, V) float32: without noise and before any temperature."""


class GumbelQuantizer(nn.Module):
    """Chooses entries by Gumbel softmax, hard in the forward pass and soft in the backward one (straight-through)."""

    def __init__(self, channels: int, codebooks: int, entries: int, width: int) -> None:
        """channels: C of its input. width: of all chosen entries together, G·E."""
        super().__init__()
        self.codebooks, self.entries = codebooks, entries
        self.codebook = nn.Parameter(
            torch.empty(codebooks * entries, width // codebooks).uniform_()
        )  # (R)
        self.projection = nn.Linear(channels, codebooks * entries)
        nn.init.normal_(
            self.projection.weight
        )  # (R): unit variance, so that choices differ from the first update on
        nn.init.zeros_(self.projection.bias)

    def forward(
        self, x: Tensor, temperature: float | None = None, noise: Tensor | None = None
    ) -> Quantized:
        """(N, C) -> N chosen entries.

        temperature: of the Gumbel softmax; None chooses the likeliest entries, without noise or gradient into the choice.
        noise: (N, G, V) float32 standard Gumbel, see `gumbel_noise`; none is added by default.
        """
        logits = (
            self.projection(x).float().unflatten(-1, (self.codebooks, self.entries))
        )  # (N, G, V)
        noisy = logits if noise is None else logits + noise
        codes = noisy.argmax(-1)
        chosen = torch.zeros_like(logits).scatter_(-1, codes.unsqueeze(-1), 1.0)
        if temperature is not None:
            soft = (noisy / temperature).softmax(-1)
            chosen = chosen + (
                soft - soft.detach()
            )  # the value of the hard choice, the gradient of the soft one
        entries = self.codebook.unflatten(0, (self.codebooks, self.entries))  # (G, V, E)
        vectors = torch.einsum("ngv,gve->nge", chosen.to(entries.dtype), entries)
        return Quantized(vectors.flatten(1), codes, logits)


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise of that shape, float32, on the generator's device."""
    return -torch.empty(shape, device=generator.device).exponential_(generator=generator).log()


def perplexities(probabilities: Tensor) -> Tensor:
    """(..., G, V) distributions averaged over everything before G -> (G,): exp of each codebook's entropy, 1 to V."""
    mean = probabilities.float().flatten(0, -3).mean(0)
    # A probability of zero has no part in the entropy; the clamp keeps its logarithm, and so its gradient, finite.
    return torch.exp(-(mean * mean.clamp(min=SMALLEST).log()).sum(-1))


def code_perplexities(codes: Tensor, entries: int) -> Tensor:
    """(N, G) chosen entries -> (G,): how many of the V entries are in use, as the perplexity of their counts."""
    counts = torch.zeros(codes.shape[1], entries, device=codes.device)
    counts.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=counts.dtype))
    return perplexities((counts / max(len(codes), 1)).unsqueeze(0))
