"""What the loop asks of a task: pretraining, fine-tuning, and training a language model.

A task knows one kind of batch and draws what it needs for it: `BatchT` and `DrawnT`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.pace import Phase


class Batch(Protocol):
    """One micro-batch: what one device learns from at a time."""

    @property
    def amount(self) -> float:
        """Seconds of audio, or words."""

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A sentence for each recording that belongs to the batch and cannot be read."""

    @property
    def described(self) -> str:
        """What is in it and how large it is, for the middle of a sentence."""

    def suspects(self) -> tuple[str, ...]:
        """Names of the utterances to look at when the batch gives no finite loss."""


BatchT = TypeVar("BatchT", bound=Batch)
ReadT = TypeVar("ReadT", bound=Batch, covariant=True)
DrawnT = TypeVar("DrawnT")


@dataclass(frozen=True)
class Step(Generic[ReadT]):
    """The micro-batches that one rank reads for one update."""

    batches: tuple[ReadT, ...]
    after: Position
    """Position of the stream after them; its `update` is unchanged."""


class Stream(Protocol[ReadT]):
    """The batches of one rank, decided by the position where they begin and nothing else."""

    @property
    def per_update(self) -> int:
        """Micro-batches of one update over all ranks."""

    @property
    def micro_batch(self) -> int:
        """Size of a micro-batch, in samples or rows; an epoch is divided anew by another."""

    @property
    def recordings(self) -> int:
        """Recordings, or blocks of text, in an epoch over all ranks."""

    def steps(self, position: Position) -> Generator[Step[ReadT], None, None]:
        """Yield endless steps from a position on, until closed."""


@dataclass(frozen=True)
class Prepared(Generic[BatchT, DrawnT]):
    """A batch on the device, with everything drawn for it."""

    batch: BatchT
    count: int
    """Number of terms in its summed loss: masked steps, labels or words."""
    drawn: DrawnT
    """What the task drew for it: masks and distractors in pretraining."""


@dataclass(frozen=True)
class Draws:
    """The random generators of one micro-batch, and the random choices its update shares."""

    update: int
    host: torch.Generator
    device: torch.Generator
    kept_blocks: Sequence[bool] | None
    """Which Transformer blocks LayerDrop keeps, the same on every rank; None without LayerDrop."""


class Task(Protocol[BatchT, DrawnT]):
    """What is trained: how a batch becomes a loss, which weights learn, how a network is judged."""

    @property
    def judged_by(self) -> str:
        """Name of the metric of `validate` whose lowest value is the best.

        A validation without it judges nothing.
        """

    @property
    def phases(self) -> Sequence[Phase]:
        """The parts of the run, in order, and the work of their updates."""

    @property
    def validation_work(self) -> float:
        """Work of a validation on one device, in the unit of `phases`."""

    @property
    def blocks(self) -> tuple[int, float]:
        """Number of Transformer blocks, and the probability that LayerDrop skips one."""

    def prepare(
        self, batch: BatchT, draws: Draws, device: torch.device
    ) -> Prepared[BatchT, DrawnT]:
        """Draw what a batch needs and move it to the device."""

    def loss(
        self, network: nn.Module, prepared: Prepared[BatchT, DrawnT], draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss summed over `prepared.count` terms, and further sums for the log."""

    def summary(self, sums: Mapping[str, float], count: float, update: int) -> dict[str, float]:
        """Return the metrics of an update from the sums over all ranks and their common count."""

    def throughput(self, amount: float, per_second: float) -> dict[str, float]:
        """Return, under the names of the log, the amount used so far and the amount per second."""

    def learning(self, network: nn.Module, update: int) -> set[str]:
        """Return the names of the parameters that learn in an update."""

    def leaves_out(self, learning: set[str]) -> bool:
        """Whether an update may give no gradient to some parameter that learns, as by LayerDrop.

        DDP then looks for those in every update, which costs a walk through its graph.
        """

    def validate(self, network: nn.Module, collectives: Collectives) -> dict[str, float]:
        """Return metrics on held-out data, the same on every rank."""

    def save_best(self, network: nn.Module, path: Path) -> None:
        """Write the network as a checkpoint."""

    def watch(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """Return (key, sentence) for a warning about these metrics, or None.

        Each key is reported once in a run.
        """
