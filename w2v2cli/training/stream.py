"""Which micro-batches make an update: an endless stream of epochs, the same for any number of ranks.

An update takes the next K = ranks · accumulation micro-batches of the epoch; the j-th of them goes to rank j mod ranks.
What an epoch has left over when fewer than K remain is dropped: every update has the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.data.plan import rank_batches
from w2v2cli.errors import UserError
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.task import Step


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
        """Endless steps from a position on; UserError when an epoch is too small for a single update."""
        position = replace(position)
        while True:
            epoch = self.reading.epoch(self.data, position.epoch)
            if len(epoch) < self.per_update:
                raise UserError(
                    f"An epoch has {len(epoch)} micro-batches, but an update takes {self.per_update} "
                    f"({self.world} processes of {self.accumulate}): lower --batch-seconds or the total batch."
                )
            mine = rank_batches(
                len(epoch), rank=self.rank, world=self.world, accumulate=self.accumulate, done=position.batch
            )
            loaded = epoch.load(mine.tolist(), self.workers, self.pin)
            for _ in range(len(mine) // self.accumulate):
                batches = tuple(next(loaded) for _ in range(self.accumulate))
                position = replace(position, batch=position.batch + self.per_update)
                yield Step(batches, position)
            position = replace(position, epoch=position.epoch + 1, batch=0)
