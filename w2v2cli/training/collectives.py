"""The processes that train together: what they sum, exchange and wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks

# The other ranks wait while one writes a checkpoint or finishes its part of a validation.
TIMEOUT = timedelta(minutes=30)

# Seconds in which threads let go of what the last exchange held.
LAST_EXCHANGE = 0.1

# What Gloo says where another process has gone. With NCCL, torchrun ends those that are left.
LEFT_ALONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")

MadeT = TypeVar("MadeT")


@dataclass(frozen=True)
class Collectives:
    """This process among its ranks, its device, and their collective operations.

    Every rank must call each operation, in the same order. With one rank none of them communicates.
    """

    ranks: Ranks
    device: torch.device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.ranks.rank

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.ranks.world

    @property
    def first(self) -> bool:
        """Whether this is the process that reports, logs and saves."""
        return self.ranks.first

    def total(self, values: Tensor) -> Tensor:
        """Return the sums of `values` over all ranks, on the device; may change `values`."""
        values = values.to(self.device)
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def total_later(self, values: Tensor) -> Callable[[], Tensor]:
        """Begin to sum `values`, on the device, over all ranks; the sums come when called for.

        Calling for them again is free. On a GPU it makes the device wait, not this process.
        """
        if self.world == 1:
            return lambda: values
        work = dist.all_reduce(values, async_op=True)

        def summed() -> Tensor:
            nonlocal work
            if work is not None:
                work.wait()
                work = None
            return values

        return summed

    def fetched(self, values: Tensor) -> Callable[[], list[float]]:
        """Begin to copy (N,) values to the host; they come when called for, once they are there."""
        if values.device.type != "cuda":
            return lambda: values.tolist()
        copied = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        copied.copy_(values, non_blocking=True)
        done = torch.cuda.Event()
        done.record()

        def read() -> list[float]:
            done.synchronize()
            return copied.tolist()

        return read

    def everyone(self, value: object) -> list[object]:
        """Return the value of every rank, in order of rank."""
        gathered: list[object] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(gathered, value)
        return gathered

    def from_first(self, make: Callable[[], MadeT]) -> MadeT:
        """Return on every rank what `make` returns on the first; the others do not call it.

        It must be something that can be pickled. Raises on every rank the error of a user or of a
        file that `make` raises on the first.
        """
        if self.world == 1:
            return make()
        sent: list[Any] = [None, None]
        if self.first:
            try:
                sent[0] = make()
            except (UserError, OSError, ValueError) as error:
                sent[1] = error
        dist.broadcast_object_list(sent, src=0, device=self._device)
        made, failure = sent
        if failure is not None:
            if isinstance(failure, UserError) and not self.first:
                failure.told = True
            raise failure
        return cast(MadeT, made)

    def after_first(self, make: Callable[[], MadeT]) -> MadeT:
        """Return what `make` returns on this rank; the others call it when the first has.

        Raises on every rank, as `from_first`, what it raises on the first.
        """
        made: list[MadeT] = []
        self.from_first(lambda: made.append(make()))
        return made[0] if made else make()

    def after_first_here(self, make: Callable[[], MadeT]) -> MadeT:
        """As `after_first`, for what every machine keeps in a folder of its own.

        The first rank makes it, then the first rank of every other machine, which finds it made
        where the folder is common to all; then the others find it. Raises on every rank what it
        raises on one of those.
        """
        made: list[MadeT] = []
        failure: UserError | OSError | ValueError | None = None
        self.from_first(lambda: made.append(make()))
        if not self.first and self.ranks.local == 0:
            try:
                made.append(make())
            except (UserError, OSError, ValueError) as error:
                failure = error
        for rank, failed in enumerate(self.everyone(failure)):
            if isinstance(failed, Exception):
                if isinstance(failed, UserError) and rank != self.rank:
                    failed.told = True
                raise failed
        return made[0] if made else make()

    def state_from_first(self, make: Callable[[], Any]) -> Any:
        """As `from_first`, for dicts and lists that hold large tensors: these are not pickled.

        On the other ranks they arrive on the device, but for single numbers.
        """
        if self.world == 1:
            return make()
        tensors: list[Tensor] = []
        outline = self.from_first(lambda: _outlined(make(), tensors))
        return _filled(outline, lambda place: self._tensor_from_first(place, tensors))

    def _tensor_from_first(self, place: _Place, tensors: list[Tensor]) -> Tensor:
        if self.first:
            tensor = tensors[place.number]
            dist.broadcast(tensor.to(self.device), src=0)
            return tensor
        received = torch.empty(place.shape, dtype=place.dtype, device=self.device)
        dist.broadcast(received, src=0)
        return received if received.ndim else received.cpu()

    @property
    def _device(self) -> torch.device | None:
        return self.device if self.device.type == "cuda" else None


@dataclass(frozen=True)
class _Place:
    """A tensor in the outline of a state."""

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def _outlined(value: Any, tensors: list[Tensor]) -> Any:
    """Return nested dicts and lists with places for their tensors, which are added to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Place(len(tensors) - 1, tuple(value.shape), value.dtype)
    if isinstance(value, Mapping):
        return {name: _outlined(inner, tensors) for name, inner in value.items()}
    if isinstance(value, list):
        return [_outlined(inner, tensors) for inner in value]
    return value


def _filled(outline: Any, tensor_at: Callable[[_Place], Tensor]) -> Any:
    """Return an outline with its tensors, asked for in their order."""
    if isinstance(outline, _Place):
        return tensor_at(outline)
    if isinstance(outline, dict):
        return {name: _filled(inner, tensor_at) for name, inner in outline.items()}
    if isinstance(outline, list):
        return [_filled(inner, tensor_at) for inner in outline]
    return outline


@contextmanager
def joined(device: torch.device) -> Iterator[Collectives]:
    """Join the processes that torchrun started, and leave them at the end; alone without torchrun.

    With `device` a GPU, each process gets the GPU of its local rank. Raises UsageError when the
    environment describes no possible ranks or this machine has fewer GPUs than processes, UserError
    when another process ends while this one waits for it.
    """
    ranks = Ranks.from_environment()
    if not ranks.several:
        yield Collectives(ranks, device)
        return
    if device.type == "cuda":
        if ranks.local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started {ranks.local_world} processes here, but this machine has "
                f"{torch.cuda.device_count()} GPUs: lower --nproc-per-node, or give --device cpu."
            )
        device = torch.device("cuda", ranks.local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield Collectives(ranks, device)
    except RuntimeError as error:
        if not any(words in str(error) for words in LEFT_ALONE):
            raise
        raise UserError(
            f"Rank {ranks.rank} ends, since another process of the run has ended."
        ) from None
    finally:
        dist.destroy_process_group()
        # To let go of the last exchange's tensors, Gloo's threads need Python's lock. Where they
        # ask for it while the interpreter ends, the program is aborted.
        time.sleep(LAST_EXCHANGE)
