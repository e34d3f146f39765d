"""This process among others: ranks that torchrun started, usable cores and their instructions,
interrupts, children that end with their parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from w2v2cli.console import say
from w2v2cli.errors import UsageError

# Instructions that multiply bfloat16, as Linux names them, and who in torch.cpu tells of them.
BFLOAT16 = {
    "avx512_bf16": "_is_avx512_bf16_supported",
    "amx_bf16": "_is_amx_tile_supported",
}
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# What a scheduler sends, often to every process of a job, before it ends the job.
NOTICES = (signal.SIGTERM, signal.SIGUSR1)
PR_SET_PDEATHSIG = 1  # of Linux's prctl


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
        given = {name: environment[name] for name in NUMBERS if environment.get(name)}
        if "RANK" not in given and given.get("WORLD_SIZE", "1") == "1":
            return cls()
        listed = ", ".join(f"{name}={value}" for name, value in given.items())
        if "RANK" not in given or "WORLD_SIZE" not in given:
            there, missing = "RANK", "WORLD_SIZE"
            if "RANK" not in given:
                there, missing = missing, there
            raise UsageError(
                f"The environment has {there}={given[there]} but no {missing}: "
                f"start with torchrun, or unset {there}."
            )
        try:
            rank, world = int(given["RANK"]), int(given["WORLD_SIZE"])
            local = int(given.get("LOCAL_RANK", rank))
            local_world = int(given.get("LOCAL_WORLD_SIZE", world))
        except ValueError:
            raise UsageError(
                f"{', '.join(given)} must be integers, got {listed}: start with torchrun."
            ) from None
        if not (0 <= rank < world and 0 <= local < local_world <= world and local <= rank):
            raise UsageError(
                f"The environment describes impossible ranks, {listed}: start with torchrun."
            )
        return cls(rank, world, local, local_world)


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bfloat16_instructions() -> tuple[str, ...]:
    """Return the instructions of this CPU that multiply bfloat16; none where software does it.

    torch asks the processor itself, on every system; where a version of it cannot be asked, Linux's
    list is read. Without oneDNN torch uses none of them.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return ()
    found = []
    for name, teller in BFLOAT16.items():
        tells = getattr(torch.cpu, teller, None)
        if name in _listed_instructions() if tells is None else tells():
            found.append(name)
    return tuple(found)


def _listed_instructions() -> list[str]:
    """All that Linux lists of this CPU, instructions among it."""
    info = Path("/proc/cpuinfo")
    return info.read_text().split() if info.is_file() else []


def cores_of(ranks: Ranks) -> int:
    """Cores of this machine for each rank on it, at least one."""
    return max(usable_cores() // ranks.local_world, 1)


@contextmanager
def interrupts_held(*more: signal.Signals) -> Iterator[None]:
    """Hold Ctrl-C back while a child process starts, and the signals in `more`.

    The child inherits the blocked signals and has time to ignore them; ours are delivered
    afterwards.
    """
    numbers = {signal.SIGINT, *more}
    came: list[int] = []
    handlers: dict[int, Any] = {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    # What is blocked here can still reach another thread of this process, and its handler then runs
    # in the main thread all the same.
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in numbers}
        handlers = {n: h for n, h in handlers.items() if h not in (None, signal.SIG_IGN)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, known in handlers.items():
            signal.signal(number, known)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in came:
            signal.raise_signal(number)


def ignore_notices() -> None:
    """Ignore Ctrl-C and a scheduler's notices: the process that this one works for ends it."""
    for number in (signal.SIGINT, *NOTICES):
        signal.signal(number, signal.SIG_IGN)


def import_path() -> list[str]:
    """This process's import path, for another that must find the same packages.

    The user's working directory must not shadow them with a folder named `models` or `lm`. In
    `sys.path` it is the empty string where code has no file, as in a notebook, and the process may
    have changed it since. What was imported from there is the folder of these packages.
    """
    root = str(Path(__file__).parents[1])
    absolute = [folder for folder in sys.path if folder]
    return absolute if root in absolute else [folder or root for folder in sys.path]


class Server:
    """A process that forks others for this one, and ends with it; a socket leads to it.

    It runs `main(descriptor of its socket, id of this process)` of a module. Other than those of
    multiprocessing it does not run the user's program again, and nothing of it has a name.
    """

    def __init__(self, module: str) -> None:
        """Start it."""
        self.control, theirs = socket.socketpair()
        started: Future[subprocess.Popen[bytes]] = Future()
        self._ended = threading.Event()
        # On Linux it ends with the thread that started it, and the thread that we are in may end
        # before its owner does: that of a web server's request, for one.
        hold = partial(self._hold, module, theirs, started)
        threading.Thread(target=hold, name="server", daemon=True).start()
        self.process = started.result()
        theirs.close()

    def _hold(
        self, module: str, theirs: socket.socket, started: Future[subprocess.Popen[bytes]]
    ) -> None:
        """Run a thread: start the process, and live until it ends."""
        start = (
            f"import sys; sys.path[:] = {import_path()!r}; "
            f"from {module} import main; main({theirs.fileno()}, {os.getpid()})"
        )
        try:
            with interrupts_held(*NOTICES):
                process = subprocess.Popen(
                    [sys.executable, "-c", start],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # It will fork, so it must stay a single thread.
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                )
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            self._ended.wait()

    def end(self, patience: float = 0.0) -> None:
        """Close the socket; kill the process if it has not ended after `patience` seconds."""
        self.control.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._ended.set()


def killed_with(parent: int) -> None:
    """On Linux, have the kernel end this process with its parent, even in the middle of a search.

    On other systems a process notices when it next reads from its socket.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)
