"""What an update learns from: its batches on the device, with all that is drawn for them.

Everything is drawn from (seed, update) or (seed, number of the micro-batch), never from a generator
that lives on. So the next update may be drawn while one runs, and changes no number by it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count
from typing import Generic

import torch

from models.context_network import draw_kept
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.tasks.protocol import BatchT, DrawnT, Draws, Prepared, Step, Task


@dataclass(frozen=True)
class Drawn(Generic[BatchT, DrawnT]):
    """What this rank learns from in one update."""

    step: Step[BatchT]
    draws: tuple[Draws, ...]
    """Of each micro-batch."""
    prepared: tuple[Prepared[BatchT, DrawnT], ...]
    waited: float = 0.0
    """Seconds that the loop waited for it, or for its batches where no thread draws."""


@dataclass(frozen=True)
class Drawing(Generic[BatchT, DrawnT]):
    """Draws the updates of one rank."""

    task: Task[BatchT, DrawnT]
    seed: int
    """That of the run."""
    collectives: Collectives
    per_update: int
    """Micro-batches of one update over all ranks."""

    def seeded(self, *parts: object) -> int:
        """Return the seed of something that `parts` name."""
        text = "/".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def number(self, update: int, i: int) -> int:
        """Number of this rank's i-th micro-batch, counted over the whole run and all ranks."""
        return update * self.per_update + i * self.collectives.world + self.collectives.rank

    def draws(self, update: int, i: int) -> Draws:
        """Return the generators and the kept blocks of this rank's i-th micro-batch."""
        number = self.number(update, i)
        blocks, layer_drop = self.task.blocks
        # Not seeded by the rank: all drop the same blocks, so that each block's gradient is a mean
        # over all ranks. Each micro-batch of a rank drops others.
        shared = torch.Generator().manual_seed(self.seeded("blocks", update, i))
        return Draws(
            update,
            torch.Generator().manual_seed(self.seeded("host", number)),
            torch.Generator(self.collectives.device).manual_seed(self.seeded("device", number)),
            draw_kept(blocks, layer_drop, shared) if layer_drop else None,
        )

    def drawn(self, step: Step[BatchT], update: int) -> Drawn[BatchT, DrawnT]:
        """Draw what the batches of an update need, and move all of it to the device."""
        draws = tuple(self.draws(update, i) for i in range(len(step.batches)))
        return Drawn(
            step,
            draws,
            tuple(
                self.task.prepare(batch, draw, self.collectives.device)
                for batch, draw in zip(step.batches, draws, strict=True)
            ),
        )

    def updates(
        self,
        steps: Iterator[Step[BatchT]],
        first: int,
        guard: Callable[[Step[BatchT]], AbstractContextManager[None]],
        ahead: bool,
    ) -> Generator[Drawn[BatchT, DrawnT], None, None]:
        """Yield the updates from number `first` on, until closed.

        guard: what a step is drawn in. ahead: whether a thread draws each one while the one before
        is used.
        """
        numbers = count(first)

        def draw() -> Drawn[BatchT, DrawnT]:
            began = time.perf_counter()
            step = next(steps)
            waited = time.perf_counter() - began
            with guard(step):
                return replace(self.drawn(step, next(numbers)), waited=waited)

        if not ahead:
            while True:
                yield draw()
        with ThreadPoolExecutor(1, "draw", self._begin_thread) as thread:
            following = thread.submit(draw)
            while True:
                began = time.perf_counter()
                drawn = following.result()
                waited = time.perf_counter() - began
                following = thread.submit(draw)
                yield replace(drawn, waited=waited)

    def _begin_thread(self) -> None:
        """Give a thread the GPU of this rank: page-locked memory belongs to one, the first else."""
        if self.collectives.device.type == "cuda" and self.collectives.device.index is not None:
            torch.cuda.set_device(self.collectives.device)
