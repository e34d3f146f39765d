"""The product quantizer: one entry from each of G codebooks stands for a latent vector.

Paper §2, "Quantization module".

Shapes: N vectors, C channels, G codebooks, V entries in each, E = d/G width of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALLEST = 1e-20  # probability


@dataclass(frozen=True)
class Quantized:
    """N quantized vectors."""

    vectors: Tensor
    """(N, G·E): the chosen entries, concatenated."""
    codes: Tensor
    """(N, G) int64: the number of the chosen entry in each codebook."""
    logits: Tensor
    """(N, G, V) float32, without noise and temperature."""


class GumbelQuantizer(nn.Module):
    """Chooses entries by a straight-through Gumbel softmax: hard forward, soft backward."""

    def __init__(self, channels: int, codebooks: int, entries: int, width: int) -> None:
        """channels: C, width of the input. width: G·E, width of all chosen entries together."""
        super().__init__()
        self.codebooks, self.entries = codebooks, entries
        # Initial values: R.
        self.codebook = nn.Parameter(
            torch.empty(codebooks * entries, width // codebooks).uniform_()
        )
        self.projection = nn.Linear(channels, codebooks * entries)
        # Unit variance, so that choices differ from the first update on (R).
        nn.init.normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(
        self, x: Tensor, temperature: float | None = None, noise: Tensor | None = None
    ) -> Quantized:
        """(N, C) -> N chosen entries.

        temperature: that of the Gumbel softmax; None lets no gradient into the choice.
        noise: (N, G, V) float32 standard Gumbel, see `gumbel_noise`; None adds none, so that the
        likeliest entries are chosen.
        """
        # (N, C) -> (N, G·V) -> (N, G, V)
        logits = self.projection(x).float().unflatten(-1, (self.codebooks, self.entries))
        noisy = logits if noise is None else logits + noise
        codes = noisy.argmax(-1)
        chosen = torch.zeros_like(logits).scatter_(-1, codes.unsqueeze(-1), 1.0)
        if temperature is not None:
            soft = (noisy / temperature).softmax(-1)
            # The value of the hard choice with the gradient of the soft one.
            chosen = chosen + (soft - soft.detach())
        entries = self.codebook.unflatten(0, (self.codebooks, self.entries))  # (G, V, E)
        vectors = torch.einsum("ngv,gve->nge", chosen.to(entries.dtype), entries)
        return Quantized(vectors.flatten(1), codes, logits)


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, float32, on the generator's device."""
    return -torch.empty(shape, device=generator.device).exponential_(generator=generator).log()


def perplexities(probabilities: Tensor) -> Tensor:
    """(..., G, V) distributions -> (G,): exp of the entropy of each codebook's average, 1 to V."""
    mean = probabilities.float().flatten(0, -3).mean(0)
    # A probability of zero adds nothing to the entropy. The clamp keeps its logarithm and with it
    # the gradient finite.
    return torch.exp(-(mean * mean.clamp(min=SMALLEST).log()).sum(-1))


def code_perplexities(codes: Tensor, entries: int) -> Tensor:
    """(N, G) chosen entries -> (G,): the perplexity of their counts, 1 to V entries in use."""
    counts = torch.zeros(codes.shape[1], entries, device=codes.device)
    counts.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=counts.dtype))
    return perplexities((counts / max(len(codes), 1)).unsqueeze(0))
