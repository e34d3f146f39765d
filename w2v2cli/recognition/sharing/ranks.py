"""Several processes over one list of recordings: who takes what, where they meet, how they stop.

torchrun starts the processes and describes them in their environment (`w2v2cli.processes.Ranks`).
They never send each other messages, so a process that dies cannot hang the others: each appends
its results to a file of its own, and the first rank merges the files (`sharing.merging`).
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
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks, cores_of

if TYPE_CHECKING:
    from w2v2cli.recognition.resolving import RecognitionOptions


def meeting_place(ranks: Ranks, environment: Mapping[str, str] = os.environ) -> str:
    """A name that all ranks of one run compute alike, and no two runs at the same time share."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")
    known = [environment.get(name, "") for name in names]
    if ranks.world == ranks.local_world:  # another machine may have the same `localhost:29500`
        known.append(socket.gethostname())
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def temporary_folder(ranks: Ranks) -> Path:
    """The folder in which the ranks of one run meet.

    Ranks on several machines meet there only if $TMPDIR lies on a disk that they share.
    """
    return Path(tempfile.gettempdir()) / f"w2v2-{os.getuid()}-{meeting_place(ranks)}"


def split_by_length(lengths: Sequence[float], world: int) -> list[list[int]]:
    """Indices into `lengths` for each of `world` ranks, ascending.

    The longest items are dealt first, each to the rank with the least so far. No rank gets more
    than 4/3 of the longest share of the best division (Graham, 1969).
    """
    shares: list[list[int]] = [[] for _ in range(world)]
    loads = [(0.0, 0, rank) for rank in range(world)]  # seconds, items, rank
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        load, items, rank = heapq.heappop(loads)
        shares[rank].append(index)
        heapq.heappush(loads, (load + lengths[index], items + 1, rank))
    return [sorted(share) for share in shares]


def seconds_of(sources: Iterable[Path]) -> list[float]:
    """The length in each recording's header; 0 without a readable one, which reading will report.

    A pipe can be read only once, so its length is 0 too.
    """
    from w2v2cli.data.audio import AudioError, probe

    lengths: list[float] = []
    for source in sources:
        try:
            lengths.append(probe(source).seconds if source.is_file() else 0.0)
        except AudioError:
            lengths.append(0.0)
    return lengths


def options_of(options: RecognitionOptions, ranks: Ranks) -> RecognitionOptions:
    """The options of this rank: a GPU of its own, and its share of this machine's cores.

    Raises UsageError where this machine has fewer GPUs than processes.
    """
    if not ranks.several:
        return options
    import torch

    device, workers = options.device, options.workers or cores_of(ranks)
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        if ranks.local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started {ranks.local_world} processes here, but this machine has "
                f"{torch.cuda.device_count()} GPUs: lower --nproc-per-node, or give --device cpu."
            )
        device = f"cuda:{ranks.local}"
    return replace(options, device=device, workers=workers)


def take_cores(ranks: Ranks) -> None:
    """Let torch use all cores of this rank: torchrun sets one where it starts several processes."""
    if ranks.several:
        import torch

        torch.set_num_threads(cores_of(ranks))


class Stopped(BaseException):
    """SIGTERM arrived.

    Not an Exception, so that no handler of a recording's errors catches it.
    """


class Stop:
    """The handler of SIGTERM, which torchrun sends to the other ranks when one has died.

    Computing may be cut short, writing may not: the signal raises Stopped inside `interruptible`
    and is only remembered outside it.
    """

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; raise Stopped where that is allowed."""
        asked, self.asked = self.asked, True
        if self._interruptible and not asked:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let SIGTERM raise Stopped inside; raise it at once if SIGTERM arrived before."""
        self._interruptible = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def sleep(self, seconds: float) -> None:
        """Sleep until SIGTERM arrives, at most for this long."""
        with self.interruptible():
            time.sleep(seconds)


@contextmanager
def stopping(ranks: Ranks) -> Iterator[Stop]:
    """Handle SIGTERM inside if there are several ranks; a single process dies of it as usual."""
    stop = Stop()
    if not ranks.several:
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
