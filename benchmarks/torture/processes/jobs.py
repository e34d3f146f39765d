"""Commands as processes of their own, that need not import torch each, and what they leave.

The process that runs the cases has imported what commands need; each job is forked from it, into a
session of its own, by which all of its descendants are found.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

TICKS = os.sysconf("SC_CLK_TCK")
GONE = 2.0  # seconds after a kill in which the system ends what belonged to the job
NAMES = "/dev/shm/"
CACHE = "torchinductor_"  # a folder of torch's, which every process of a user shares


@dataclass
class Job:
    """A command that runs."""

    pid: int
    place: Path
    code: int | None = None
    """Its exit code once it is over, negative for a signal."""
    seconds: float = 0.0
    """Of a processor, as far as they were seen."""

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return (self.place / "stderr").read_text(errors="replace")

    def over(self) -> bool:
        """Whether it has ended; notes its exit code."""
        if self.code is None:
            with contextlib.suppress(OSError):  # it is just ending
                fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
                self.seconds = (int(fields[11]) + int(fields[12])) / TICKS
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, until: Callable[[Job], bool] = lambda job: False) -> None:
        """Wait until it is over, or until something else is so."""
        while not self.over() and not until(self):
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it, and nothing but it."""
        if not self.over():
            os.kill(self.pid, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(
    arguments: Sequence[str],
    place: Path,
    variables: Mapping[str, str] = {},
    before: Callable[[], None] = lambda: None,
) -> Job:
    """Start `w2v2 ARGUMENTS` in a folder; stdout and stderr go to files in it.

    variables: of its environment. before: called in the new process.
    """
    temporary = place / "temporary"
    temporary.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return Job(pid, place)
    os.setsid()
    os.chdir(place)
    os.environ |= {"TMPDIR": str(temporary), "W2V2_HOME": str(place / "home"), **variables}
    tempfile.tempdir = None
    for number, name, mode in ((0, os.devnull, "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        with open(name, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)
    sys.argv = ["w2v2", *arguments]
    try:
        before()
        from w2v2cli.app import main

        main()
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:
        traceback.print_exc()
    _end(1)


def _end(code: int) -> NoReturn:
    """End this process as a program ends, without those that it was forked in."""
    with contextlib.suppress(OSError, ValueError):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    os._exit(code)


def ran(arguments: Sequence[str], place: Path, variables: Mapping[str, str] = {}) -> Job:
    """Run `w2v2 ARGUMENTS` to its end."""
    job = start(arguments, place, variables)
    job.wait()
    return job


def members(session: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def names_of(session: int) -> set[str]:
    """Named semaphores and shared memory that the processes of a session have open."""
    found: set[str] = set()
    for pid in members(session):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/maps").read_text().split()
            found |= {word for word in words if word.startswith(NAMES)}
    return found


def leavings(job: Job, names: set[str]) -> tuple[str, ...]:
    """What a job that is over has left: processes, temporary files, and those of `names`."""
    until = time.monotonic() + GONE
    while (left := members(job.pid)) and time.monotonic() < until:
        time.sleep(0.02)
    found = [f"process {_command(pid)}" for pid in left]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    temporary = sorted(path.name for path in (job.place / "temporary").iterdir())
    found += [f"file {name}" for name in temporary if not name.startswith(CACHE)]
    return (*found, *(f"name {name}" for name in sorted(names) if os.path.exists(name)))


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
    return str(pid)
