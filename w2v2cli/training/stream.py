"""Which micro-batches make an update: an endless stream of epochs, the same for any number of ranks.

An update takes the next K = ranks · accumulation micro-batches of the stream, over the border of an epoch too; the j-th of
them goes to rank j mod ranks. So nothing is left out, and the order depends on neither ranks nor workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from w2v2cli.data.dataset import Batch, MicroBatches, Reading, TrainingSet
from w2v2cli.errors import UserError
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.tasks.protocol import Step


@dataclass(frozen=True)
class AudioStream:
    """The part of one rank."""

    data: TrainingSet
    reading: Reading
    rank: int = 0
    world: int = 1
    accumulate: int = 1
    workers: int = 0
    pin: bool = False

    @property
    def per_update(self) -> int:
        """K, the micro-batches of one update over all ranks."""
        return self.world * self.accumulate

    def steps(self, position: Position) -> Iterator[Step]:
        """Endless steps from a position on; UserError when there is nothing to read."""
        epoch_of = lru_cache(2)(lambda epoch: self.reading.epoch(self.data, epoch))
        batches = self._batches(position.epoch, position.batch, epoch_of)
        while True:
            read = tuple(next(batches) for _ in range(self.accumulate))
            epoch, batch = position.epoch, position.batch + self.per_update
            while batch >= len(epoch_of(epoch)):
                batch -= len(epoch_of(epoch))
                epoch += 1
            position = replace(position, epoch=epoch, batch=batch)
            yield Step(read, position)

    def _batches(
        self, epoch: int, first: int, epoch_of: Callable[[int], MicroBatches]
    ) -> Iterator[Batch]:
        """This rank's micro-batches from the `first` of an epoch on, where an update begins."""
        turn = 0  # whose the next one is
        while True:
            size = len(epoch_of(epoch))
            if not size:
                raise UserError("There is nothing to train on: an epoch has no micro-batch.")
            mine = range(first + (self.rank - turn) % self.world, size, self.world)
            yield from epoch_of(epoch).load(mine, self.workers, self.pin)
            turn = (turn + size - first) % self.world
            epoch, first = epoch + 1, 0
