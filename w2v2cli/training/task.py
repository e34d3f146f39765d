"""What the loop asks of a task: pretraining, fine-tuning, and the language model of the decoding stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from w2v2cli.data.dataset import Batch
from w2v2cli.training.distributed import Ranks


@dataclass(frozen=True)
class Prepared:
    """A batch with everything drawn for it, on the device."""

    batch: Batch
    count: int
    """What its summed loss is spread over: masked steps, labels or words."""
    drawn: Any
    """Whatever the task drew for it."""


@dataclass(frozen=True)
class Draws:
    """The randomness of one micro-batch."""

    update: int
    host: torch.Generator
    device: torch.Generator
    kept_blocks: Sequence[bool] | None


class Task(Protocol):
    """What is trained: how a batch becomes a loss, which weights learn, and how a network is judged."""

    @property
    def judged_by(self) -> str:
        """The metric of `validate` whose lowest value is the best."""

    @property
    def blocks(self) -> tuple[int, float]:
        """Transformer blocks of the network, and the probability that LayerDrop skips one."""

    def prepare(self, batch: Batch, draws: Draws, device: torch.device) -> Prepared:
        """Draw what a batch needs and put it on the device."""

    def loss(self, network: nn.Module, prepared: Prepared, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss summed over `prepared.count`, and sums to be logged over that count (see `summary`)."""

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """What is logged of an update, from the sums over all ranks."""

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """The names of the parameters that learn in an update."""

    def validate(self, network: nn.Module, ranks: Ranks) -> dict[str, float]:
        """Metrics on held-out data, the same on every rank."""

    def save_best(self, network: nn.Module, path: Path) -> None:
        """Write the network as a checkpoint."""

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """What is wrong in a word and in a sentence, if these metrics call for a warning; each word is warned of once."""
