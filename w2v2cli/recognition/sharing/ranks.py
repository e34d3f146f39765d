"""Several processes over one list of recordings: who they are, and who takes what.

torchrun starts them and says so in their environment. They never talk to each other: a process that dies must not hang the
others. `parts` is how their results come together.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from w2v2cli.console import say
from w2v2cli.errors import UsageError

if TYPE_CHECKING:
    from w2v2cli.recognition.recognizer import RecognitionOptions


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the work; by default it is alone."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Rank on this machine."""
    local_world: int = 1
    """Processes on this machine."""

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and merges."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1

    def say(self, sentence: str) -> None:
        """A line on stderr, from the first rank alone."""
        if self.first:
            say(sentence)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """As torchrun says; one process where it does not. UsageError for numbers that make no sense."""
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        said = [environment.get(name) for name in names]
        said = [said[0], said[1], said[2] or said[0], said[3] or said[1]]
        given = ", ".join(f"{name}={value}" for name, value in zip(names, said, strict=True))
        try:
            rank, world, local, local_world = (int(value or "") for value in said)
        except ValueError:
            raise UsageError(
                f"The environment counts processes in no numbers: {given}; start with torchrun."
            ) from None
        if not (0 <= rank < world and 0 <= local < local_world <= world):
            raise UsageError(
                f"The environment counts processes that cannot be: {given}; start with torchrun."
            )
        return cls(rank, world, local, local_world)


def meeting_place(ranks: Ranks, environment: Mapping[str, str] = os.environ) -> str:
    """A name that all ranks of one run come to by themselves, and no two runs at the same time."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")
    known = [environment.get(name, "") for name in names]
    if ranks.world == ranks.local_world:  # another machine may have the same `localhost:29500`
        known.append(socket.gethostname())
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def temporary_folder(ranks: Ranks) -> Path:
    """Where the ranks of one machine, or of several with $TMPDIR on a disk they share, put their parts."""
    return Path(tempfile.gettempdir()) / f"w2v2-{os.getuid()}-{meeting_place(ranks)}"


def split_by_length(lengths: Sequence[float], world: int) -> list[list[int]]:
    """Indices for each rank, in order: the longest go first, each to the rank that has the least so far.

    No rank gets more than 4/3 of the best division's longest share (Graham, 1969).
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    loads = [(0.0, 0, rank) for rank in range(world)]  # seconds, items, rank
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        load, items, rank = heapq.heappop(loads)
        shares[rank].append(index)
        heapq.heappush(loads, (load + lengths[index], items + 1, rank))
    return [sorted(share) for share in shares]


def seconds_of(sources: Iterable[Path]) -> list[float]:
    """The length that each recording's header says; 0 where it says none: reading it will say why."""
    from w2v2cli.data.audio import AudioError, probe

    lengths: list[float] = []
    for source in sources:
        try:
            lengths.append(
                probe(source).seconds if source.is_file() else 0.0
            )  # a pipe can be read only once
        except AudioError:
            lengths.append(0.0)
    return lengths


def options_of(options: RecognitionOptions, ranks: Ranks) -> RecognitionOptions:
    """A rank's own GPU, where there are GPUs, and its share of this machine's cores for the search.

    UsageError where this machine has fewer GPUs than processes.
    """
    if not ranks.several:
        return options
    import torch

    device, workers = options.device, options.workers or cores_of(ranks)
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        if ranks.local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started {ranks.local_world} processes here, but this machine shows "
                f"{torch.cuda.device_count()} GPUs: lower --nproc-per-node, or give --device cpu."
            )
        device = f"cuda:{ranks.local}"
    return replace(options, device=device, workers=workers)


def cores_of(ranks: Ranks) -> int:
    """Cores of this machine for this rank, at least one."""
    from w2v2cli.recognition.searching.processes import usable_cores

    return max(usable_cores() // ranks.local_world, 1)


def take_cores(ranks: Ranks) -> None:
    """Let torch use this rank's cores; torchrun leaves it a single one wherever it starts several processes."""
    if ranks.several:
        import torch

        torch.set_num_threads(cores_of(ranks))


class Stopped(BaseException):
    """SIGTERM came. Not an Exception: nothing that handles a recording's trouble may take it for one."""


class Stop:
    """SIGTERM, with which torchrun ends the other ranks when one has died: work may be cut short, writing may not."""

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        asked, self.asked = self.asked, True
        if self._interruptible and not asked:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raise Stopped within, at once if it was asked for before."""
        self._interruptible = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def sleep(self, seconds: float) -> None:
        """Wait, interruptibly."""
        with self.interruptible():
            time.sleep(seconds)


@contextmanager
def stopping(ranks: Ranks) -> Iterator[Stop]:
    """Hear SIGTERM within, where there are several ranks; a process alone ends by it as any other."""
    stop = Stop()
    if not ranks.several:
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
