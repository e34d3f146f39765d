"""One loader for a whole run: micro-batches of any epoch, read ahead by the same processes.

A place is (epoch, number of the micro-batch). The plan of an epoch is a pure function, so every
worker computes it by itself and only places are sent to it. Nothing stops at the end of an epoch:
the micro-batches of the next one are read while those of this one are used.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from math import ceil
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from typing import Any

from torch.utils.data import DataLoader, Dataset

from models.config import SAMPLE_RATE
from w2v2cli.data.dataset import Batch, MicroBatches, Reading, TrainingSet
from w2v2cli.errors import UserError, ran_out_of_memory
from w2v2cli.processes import NOTICES, end_with_parent, interrupts_held, main_module_hidden

Place = tuple[int, int]
PLANS = 3  # epochs whose plans a process keeps: the one that is used, and those read ahead
LEAST_AHEAD = 4  # micro-batches that each worker reads ahead


class Epochs(Dataset[Batch | UserError]):
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
    batches = _started(epochs, places, workers, ahead, pin)
    try:
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            yield batch
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            "A process that reads audio was killed, most often because memory is short: lower "
            "--loader-workers or --batch-seconds. The same call continues from the last state."
        ) from None
    finally:
        del batches  # ends the workers now: a traceback would keep them until the program exits


def _started(
    epochs: Epochs, places: Iterable[Place], workers: int, ahead: int, pin: bool
) -> Iterator[Batch | UserError]:
    """Start the workers, which no signal to the whole job ends before this process does."""
    with warnings.catch_warnings():
        # More workers than cores: recipes are made for machines with many.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            epochs,
            batch_size=None,
            sampler=places,
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=max(LEAST_AHEAD, ceil(ahead / workers)) if workers else None,
            multiprocessing_context=_worker_context() if workers else None,
            worker_init_fn=partial(_begin_worker, os.getpid()) if workers else None,
        )
    with main_module_hidden(), interrupts_held(*NOTICES):
        return iter(loader)


def _begin_worker(owner: int, number: int) -> None:
    """Ignore Ctrl-C and notices, but not a SIGTERM of the process that started this worker.

    That is how a program ends the processes it has left when it exits. An interrupt may end it
    before it has done so, and the server that forks the workers lives as long as they do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def wait() -> None:
        # SIGTERM has been blocked since the start, so it arrives here with its sender.
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != owner:
            pass
        os._exit(0)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
    end_with_parent()


def _worker_context() -> BaseContext:
    """Return a context whose server has imported torch, so that workers start in no time.

    The server and the process that tracks shared memory inherit the blocked notices. Each has a
    block of its own: before Python 3.12 the start of the tracker ends the block it is in.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with interrupts_held(*NOTICES):
        resource_tracker.ensure_running()
    with interrupts_held(*NOTICES):
        forkserver.ensure_running()
    return context
