"""Which micro-batches make an update: a stream of epochs, the same for any number of ranks.

An update takes the next K = ranks · accumulation micro-batches of the stream, across the end of an
epoch too; the j-th of them goes to rank j mod ranks. So nothing is left out, and the order depends
on neither ranks nor loader workers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from models.config import SAMPLE_RATE
from w2v2cli.data.dataset import Batch, Reading, TrainingSet, budget_samples
from w2v2cli.data.loading.loader import Epochs, Place, read_ahead
from w2v2cli.processes import cores_of
from w2v2cli.training.checkpoints import Position
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import AudioRunConfig, FinetuneConfig, PretrainConfig
from w2v2cli.training.tasks.protocol import Step

BATCH_TOLERANCE = 0.05  # share by which an update may differ from the recipe's
Audio = TypeVar("Audio", bound=AudioRunConfig)


@dataclass(frozen=True)
class AudioStream:
    """One rank's part of the stream."""

    data: TrainingSet
    reading: Reading
    rank: int = 0
    world: int = 1
    accumulate: int = 1
    """Micro-batches of this rank in an update."""
    workers: int = 0
    """Processes that read ahead."""
    pin: bool = False
    """Whether batches lie in pinned memory, for a GPU."""

    @property
    def per_update(self) -> int:
        """K, the micro-batches of one update over all ranks."""
        return self.world * self.accumulate

    @property
    def micro_batch(self) -> int:
        """Samples of the largest micro-batch, padding included."""
        return self.reading.budget

    @property
    def recordings(self) -> int:
        """Recordings that are trained on, over all ranks."""
        return len(self.data)

    def steps(self, position: Position) -> Generator[Step[Batch], None, None]:
        """Yield endless steps from a position on. Raises UserError where nothing can be read."""
        epochs = Epochs(self.data, self.reading)
        if position.batch >= epochs.size(position.epoch):  # its micro-batches were smaller
            position = replace(position, epoch=position.epoch + 1, batch=0)
        places = self._places(position.epoch, position.batch, epochs)
        # A whole update is read ahead, however many micro-batches make one.
        ahead = self.accumulate + self.workers
        with closing(
            read_ahead(epochs, places, self.workers, ahead=ahead, pin=self.pin)
        ) as batches:
            while True:
                read = tuple(next(batches) for _ in range(self.accumulate))
                epoch, batch = position.epoch, position.batch + self.per_update
                while batch >= epochs.size(epoch):  # an update may span several short epochs
                    batch -= epochs.size(epoch)
                    epoch += 1
                position = replace(position, epoch=epoch, batch=batch)
                yield Step(read, position)

    def _places(self, epoch: int, first: int, epochs: Epochs) -> Iterator[Place]:
        """This rank's places from number `first` of an epoch on, where an update begins."""
        turn = 0  # the rank whose turn micro-batch `first` is
        while True:
            size = epochs.size(epoch)
            for number in range(first + (self.rank - turn) % self.world, size, self.world):
                yield epoch, number
            turn = (turn + size - first) % self.world
            epoch, first = epoch + 1, 0


def audio_stream(
    config: AudioRunConfig, data: TrainingSet, collectives: Collectives
) -> AudioStream:
    """Return this rank's stream over `data`, as the configuration reads it."""
    config = divided(config, data, collectives.world)
    return AudioStream(
        data,
        reading_of(config),
        collectives.rank,
        collectives.world,
        accumulation(config, data, collectives.world),
        min(config.loader_workers, cores_of(collectives.ranks)),
        pin=collectives.device.type == "cuda",
    )


def divided(config: Audio, data: TrainingSet | None, world: int) -> Audio:
    """Return a configuration whose micro-batches make the total batch on `world` devices.

    Where whole micro-batches would make a total that differs by more than BATCH_TOLERANCE, as on
    more devices than a recipe was made for, they get smaller; but no smaller than what a single
    recording takes: a crop in pretraining, the longest of `data` in fine-tuning.
    """
    total, count = config.total_batch_hours * 3600, config.accumulation(world)
    made = count * world * config.batch_seconds
    if not total or abs(made / total - 1) <= BATCH_TOLERANCE:
        return config
    seconds = total / (world * (count if made > total else count + 1))
    least = 0.0
    if isinstance(config, PretrainConfig):
        least = config.crop_seconds
    elif data is not None and isinstance(config, FinetuneConfig):
        least = int(data.lengths.max(initial=0)) / SAMPLE_RATE / min(*config.speeds, 1.0)
    return replace(config, batch_seconds=min(max(seconds, least), config.batch_seconds))


def accumulation(config: AudioRunConfig, data: TrainingSet, world: int) -> int:
    """Return the micro-batches of one device in an update.

    As configured, but an update takes no more than one epoch (as in fairseq's configurations, where
    ten minutes of speech are less than the batch).
    """
    epoch = len(reading_of(config).epoch(data, 0))
    return min(config.accumulation(world), max(epoch // world, 1))


def reading_of(config: AudioRunConfig) -> Reading:
    """Return how a run reads its recordings into micro-batches.

    Pretraining cuts longer ones to `crop_seconds`, or to a micro-batch where that is shorter.
    """
    budget = budget_samples(config.batch_seconds)
    crop = None
    if isinstance(config, PretrainConfig):
        crop = min(int(config.crop_seconds * SAMPLE_RATE), budget)
    if isinstance(config, FinetuneConfig):
        return Reading(budget, speeds=config.speeds, augmentation=config.augment, seed=config.seed)
    return Reading(budget, crop=crop, seed=config.seed)
