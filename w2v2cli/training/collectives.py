"""The processes that train together: what they sum, exchange and wait for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks

# The other ranks wait while one writes a checkpoint or finishes its part of a validation.
TIMEOUT = timedelta(minutes=30)


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

    def wait(self) -> None:
        """Return once every rank has called this."""
        if self.world > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def everyone(self, value: object) -> list[object]:
        """Return the value of every rank, in order of rank."""
        gathered: list[object] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(gathered, value)
        return gathered


@contextmanager
def joined(device: torch.device) -> Iterator[Collectives]:
    """Join the processes that torchrun started, and leave them at the end; alone without torchrun.

    With `device` a GPU, each process gets the GPU of its local rank. Raises UsageError when the
    environment describes no possible ranks or this machine has fewer GPUs than processes.
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
    finally:
        dist.destroy_process_group()
