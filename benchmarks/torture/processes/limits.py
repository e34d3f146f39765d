"""Commands with a full disk, closed descriptors, few resources, or a home that cannot be written.

A command has to do its work as ever, or to end with an exit code that says it failed and a
sentence on stderr, where there is one. What it leaves is whole: a file that an unlimited call
makes is that file, or is absent.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.torture.cases import Kind, Outcome, Run
from benchmarks.torture.processes.jobs import Job, leavings, start
from benchmarks.torture.processes.kills import LINES, files_of
from benchmarks.torture.processes.material import make

SECONDS = 120.0  # of a case on a busy machine
HANGING = 10.0  # seconds of waiting, beyond what the processor was used for
MIB = 2**20
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
PRIVATE, BIND, REMOUNT, READ_ONLY = 1 << 18 | 1 << 14, 4096, 32, 1
Before = Callable[[], None]


def closed(*numbers: int) -> None:
    """Close descriptors, as a daemon's parent may have done."""
    for number in numbers:
        os.close(number)


def full(number: int) -> None:
    """Have a descriptor lead to a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), number)


def bounded(kind: int, bound: int) -> None:
    """`ulimit`."""
    resource.setrlimit(kind, (bound, resource.getrlimit(kind)[1]))


def files_bounded(bound: int) -> None:
    """`ulimit -f`, which stderr is not under, as on a terminal: another process writes it."""
    reads, writes = os.pipe()
    if not os.fork():
        os.dup2(reads, 0)
        os.dup2(2, 1)
        os.closerange(3, max(reads, writes) + 1)
        os.execvp("cat", ["cat"])
    os.dup2(writes, 2)
    os.close(reads)
    os.close(writes)
    bounded(resource.RLIMIT_FSIZE, bound)


def memory(more: int) -> None:
    """Bound the memory to what is taken and so much more."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bounded(resource.RLIMIT_AS, taken + more)


def mounted(path: str, options: str) -> None:
    """Put a small file system of its own at a path, which this process alone sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = READ_ONLY if options == "ro" else 0
    size = b"" if options == "ro" else options.encode()
    Path(path).mkdir(parents=True, exist_ok=True)
    done = libc.unshare(NEW_MOUNTS)
    done = done or libc.mount(b"none", b"/", None, PRIVATE, None)
    done = done or libc.mount(b"none", path.encode(), b"tmpfs", flags, size)
    if done:
        raise OSError(ctypes.get_errno(), "mount")


def no_home() -> None:
    """Have a file where the home should be."""
    Path("home").write_text("")


LIMITS: dict[str, Before] = {
    "none": lambda: None,
    "stdin closed": partial(closed, 0),
    "stdout closed": partial(closed, 1),
    "stderr closed": partial(closed, 2),
    "all closed": partial(closed, 0, 1, 2),
    "stdout full": partial(full, 1),
    "stderr full": partial(full, 2),
    "files of 0 bytes": partial(files_bounded, 0),
    "files of 1 kB": partial(files_bounded, 1000),
    "files of 50 kB": partial(files_bounded, 50_000),
    "16 descriptors": partial(bounded, resource.RLIMIT_NOFILE, 16),
    "32 descriptors": partial(bounded, resource.RLIMIT_NOFILE, 32),
    "no processes": partial(bounded, resource.RLIMIT_NPROC, 0),
    "no more memory": partial(memory, MIB),
    "50 MB of memory": partial(memory, 50 * MIB),
    "300 MB of memory": partial(memory, 300 * MIB),
    "output full": partial(mounted, "out", "size=8k"),
    "output read only": partial(mounted, "out", "ro"),
    "home full": partial(mounted, "home", "size=8k"),
    "home read only": partial(mounted, "home", "ro"),
    "home a file": no_home,
    "temporary full": partial(mounted, "temporary", "size=4k"),
    "no shared memory": partial(mounted, "/dev/shm", "ro"),
}
COMMANDS = ("transcribe", "eval", "tune-lm", "lm build", "data shard", "pretrain", "lm train")
CASES = [(command, limit) for command in COMMANDS for limit in LIMITS]
random.Random(0).shuffle(CASES)  # a share of them is of all kinds


def open_limits(folder: Path) -> Run:
    """What the commands read, and what they make where nothing limits them."""
    make(folder)
    wholes: dict[str, dict[str, object]] = {}

    def run(number: int, place: Path) -> Outcome:
        command, limit = CASES[number]
        if command not in wholes:
            job, _ = limited(command, "none", folder, place)
            if job.code:
                raise RuntimeError(job.errors)
            wholes[command] = files_of(place)
            shutil.rmtree(place)
            place.mkdir()
        job, idle = limited(command, limit, folder, place)
        left = leavings(job, set())
        outcome = ended(job, idle, limit, wholes[command], files_of(place))
        return Outcome(outcome.end, f"{command}, {limit}: {outcome.detail}", left)

    return run


def limited(command: str, limit: str, inputs: Path, place: Path) -> tuple[Job, float]:
    """Run a command under a limit; the seconds in which it did nothing come with it."""
    (place / "out").mkdir(exist_ok=True)
    line = LINES[command].format(inputs=inputs, workers=2 * (command == "data shard")).split()
    began = time.monotonic()
    job = start(line, place, before=LIMITS[limit])
    job.wait(lambda job: time.monotonic() - began > SECONDS - HANGING)
    hung = job.code is None
    job.kill()
    return job, SECONDS if hung else 0.0


def ended(
    job: Job, idle: float, limit: str, expected: dict[str, object], found: dict[str, object]
) -> Outcome:
    """Judge the end of a job."""
    errors = job.errors.strip()
    last = errors.splitlines()[-1] if errors else ""
    if idle:
        return Outcome("hang", last)
    if "Traceback" in errors or "Fatal Python error" in errors:
        return Outcome("traceback", last)
    assert job.code is not None
    if job.code < 0:
        return Outcome("crash", f"signal {-job.code}: {last}")
    other = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    finished = [name for name in other if not unfinished(name)]
    if job.code == 0:
        lost = [name for name in expected.keys() - found.keys() if name.startswith("out/")]
        hidden = limit.startswith(("output", "home"))  # in mounts that are gone with the job
        if (lost or other) and not hidden:
            return Outcome("changed", f"exit code 0, lost {lost[:3]}, other {other[:3]}")
        return Outcome("well", last)
    if finished:
        return Outcome("changed", f"exit code {job.code}, not whole: {finished[:3]}")
    silent = limit in ("stderr closed", "stderr full", "all closed")
    if not last and not silent:
        return Outcome("changed", f"exit code {job.code} without a word")
    return Outcome("told", last)


def unfinished(name: str) -> bool:
    """Whether a file grows while a job runs."""
    return name.endswith((".jsonl", ".sqlite", "run.json")) or "/." in name


KINDS = (Kind("limits", len(CASES), open_limits, seconds=SECONDS, room=None),)
