"""What the loop asks of a task: pretraining, fine-tuning, and the language model of the decoding stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Ranks


class Batch(Protocol):
    """What one device learns from at a time."""

    @property
    def amount(self) -> float:
        """Seconds of audio, or words."""

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A sentence for each thing that should be in it and cannot be read."""

    def suspects(self) -> tuple[str, ...]:
        """What to name when nothing can be learned from it."""


class Stream(Protocol):
    """The batches of one rank: where they begin is all that decides them."""

    @property
    def per_update(self) -> int:
        """Micro-batches of one update over all ranks."""

    def steps(self, position: Position) -> Iterator[Step]:
        """Endless steps from a position on."""


@dataclass(frozen=True)
class Step:
    """What one rank reads for one update."""

    batches: tuple[Any, ...]
    """Of the kind that the task knows."""
    after: Position
    """Where the stream stands after it; `update` is left as it was."""


@dataclass(frozen=True)
class Prepared:
    """A batch with everything drawn for it, on the device."""

    batch: Any
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

    def prepare(self, batch: Any, draws: Draws, device: torch.device) -> Prepared:
        """Draw what a batch needs and put it on the device."""

    def loss(
        self, network: nn.Module, prepared: Prepared, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss summed over `prepared.count`, and sums to be logged over that count (see `summary`)."""

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """What is logged of an update, from the sums over all ranks."""

    def told(self, amount: float, per_second: float) -> dict[str, float]:
        """How the log calls what has been learned from so far, and how fast."""

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """The names of the parameters that learn in an update."""

    def validate(self, network: nn.Module, ranks: Ranks) -> dict[str, float]:
        """Metrics on held-out data, the same on every rank."""

    def save_best(self, network: nn.Module, path: Path) -> None:
        """Write the network as a checkpoint."""

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """What is wrong in a word and in a sentence, if these metrics call for a warning; each word is warned of once."""
