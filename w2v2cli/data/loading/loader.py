"""One loader for a whole run: micro-batches of any epoch, read ahead by the same processes.

A place is (epoch, number of the micro-batch). The plan of an epoch is a pure function, so every
worker computes it by itself and only places are sent to it. Nothing stops at the end of an epoch:
the micro-batches of the next one are read while those of this one are used.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from models.config import SAMPLE_RATE
from w2v2cli.data.dataset import Batch, MicroBatches, Reading, TrainingSet
from w2v2cli.errors import UserError, ran_out_of_memory
from w2v2cli.workers import WorkerDied, Workers

Place = tuple[int, int]
PLANS = 3  # epochs whose plans a process keeps: the one that is used, and those read ahead
LEAST_AHEAD = 4  # micro-batches that each worker reads ahead


class Epochs:
    """All micro-batches of an endless sequence of epochs, by their places."""

    def __init__(self, data: TrainingSet, reading: Reading) -> None:
        self.data, self.reading = data, reading
        self._plans: dict[int, MicroBatches] = {}
        self._sizes: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_plans": {}}

    def epoch(self, number: int) -> MicroBatches:
        """The micro-batches of one epoch."""
        if number not in self._plans:
            while len(self._plans) >= PLANS:
                del self._plans[min(self._plans)]
            self._plans[number] = self.reading.epoch(self.data, number)
        return self._plans[number]

    def size(self, number: int) -> int:
        """Micro-batches of one epoch. Raises UserError where there is none."""
        if number not in self._sizes:
            self._sizes[number] = len(self.epoch(number))
        if not self._sizes[number]:
            raise UserError("There is nothing to train on: an epoch has no micro-batch.")
        return self._sizes[number]

    def __getitem__(self, place: Place) -> Batch | UserError:
        """Read a micro-batch.

        An error is returned: raised in a worker it would arrive with a traceback in its sentence.
        """
        epoch, number = place
        try:
            return self.epoch(epoch)[number]
        except UserError as error:
            return error
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            planned = self.epoch(epoch).plan[number]
            seconds = max(planned.samples) / SAMPLE_RATE
            return UserError(
                f"Memory ran out while a micro-batch of {len(planned.indices)} utterances was "
                f"read, the longest of {seconds:.1f} s: lower --batch-seconds or --loader-workers."
            )


def read_ahead(
    epochs: Epochs, places: Iterable[Place], workers: int, *, ahead: int = 0, pin: bool = False
) -> Generator[Batch, None, None]:
    """Yield the micro-batches at `places` in their order, until closed or out of places.

    workers: processes that read ahead; 0 reads here. ahead: micro-batches that all of them together
    read ahead at least. pin: move them to page-locked memory.

    Raises UserError where a micro-batch cannot be read, and where a worker is killed.
    """
    if not workers:
        yield from (_readied(epochs[place], pin) for place in places)
        return
    try:
        with Workers[Place, "Batch | UserError"](_Reader(epochs), workers) as readers:
            for batch in readers.in_order(places, max(LEAST_AHEAD, ceil(ahead / workers))):
                yield _readied(batch, pin)
    except WorkerDied:
        raise UserError(
            "A process that reads audio was killed, most often because memory is short: lower "
            "--loader-workers or --batch-seconds. The same call continues from the last state."
        ) from None


@dataclass(frozen=True)
class _Reader:
    """What a process that reads ahead does."""

    epochs: Epochs

    def __call__(self, place: Place) -> Iterator[Batch | UserError]:
        yield self.epochs[place]


def _readied(batch: Batch | UserError, pin: bool) -> Batch:
    if isinstance(batch, UserError):
        raise batch
    return batch.pin_memory() if pin else batch
