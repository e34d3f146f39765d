"""The processes of one run: rank and world from torchrun's environment, or one process without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from w2v2cli.errors import UsageError

TIMEOUT = timedelta(minutes=30)  # a validation or a checkpoint on one rank, the others waiting


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks, logs and saves."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sums over all ranks, on the device, in place where there are several."""
        values = values.to(self.device)
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until every rank has come here."""
        if self.world > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def everyone(self, value: object) -> list[object]:
        """The value of every rank, in order of rank."""
        gathered: list[object] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(gathered, value)
        return gathered


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun started, each on a GPU of its own where `device` is one; they part at the end.

    UsageError where this machine has fewer GPUs than processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1, device)
        return
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started {local + 1} processes or more here, but this machine shows "
                f"{torch.cuda.device_count()} GPUs: lower --nproc-per-node, or give --device cpu."
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield Ranks(rank, world, device)
    finally:
        dist.destroy_process_group()
