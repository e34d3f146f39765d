"""This process among others: ranks that torchrun started, usable cores, interrupts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from w2v2cli.console import say
from w2v2cli.errors import UsageError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the work; by default it is alone."""

    rank: int = 0
    world: int = 1
    """Processes in all."""
    local: int = 0
    """Rank on this machine."""
    local_world: int = 1
    """Processes on this machine."""

    @property
    def first(self) -> bool:
        """Whether this process prints, merges and saves."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.world > 1

    def say(self, sentence: str) -> None:
        """Print a line on stderr, from the first rank alone."""
        if self.first:
            say(sentence)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """The ranks in torchrun's variables; one process where neither RANK nor WORLD_SIZE is set.

        Raises UsageError for numbers that are missing, not integers, or impossible.
        """
        said = {name: environment[name] for name in NUMBERS if environment.get(name)}
        if "RANK" not in said and said.get("WORLD_SIZE", "1") == "1":
            return cls()
        given = ", ".join(f"{name}={value}" for name, value in said.items())
        if "RANK" not in said or "WORLD_SIZE" not in said:
            missing = "RANK" if "RANK" not in said else "WORLD_SIZE"
            raise UsageError(
                f"The environment has {given} but no {missing}: start with torchrun, or unset it."
            )
        try:
            rank, world = int(said["RANK"]), int(said["WORLD_SIZE"])
            local = int(said.get("LOCAL_RANK", rank))
            local_world = int(said.get("LOCAL_WORLD_SIZE", world))
        except ValueError:
            raise UsageError(
                f"RANK, WORLD_SIZE and their local forms must be integers, got {given}: "
                "start with torchrun."
            ) from None
        if not (0 <= rank < world and 0 <= local < local_world <= world):
            raise UsageError(
                f"The environment describes impossible ranks, {given}: start with torchrun."
            )
        return cls(rank, world, local, local_world)


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_of(ranks: Ranks) -> int:
    """Cores of this machine for each rank on it, at least one."""
    return max(usable_cores() // ranks.local_world, 1)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a child process starts.

    The child inherits the blocked signal and has time to ignore it; ours is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
