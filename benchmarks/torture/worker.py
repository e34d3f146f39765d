"""The process of one kind: `python -m benchmarks.torture.worker KIND`.

It makes the inputs once, and takes numbers of cases on stdin, one a line. Each case is run in a
forked child that lives on for the next ones. A child that dies or takes too long is replaced, and
its case is a row like all others. One line of JSON for each case goes to stdout.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import Kind, Outcome, Run
from benchmarks.torture.registry import kinds

CLOCK = os.sysconf("SC_CLK_TCK")
WAITING = 12  # times as long as its limit may a case take that waits for a processor
LINES = 8  # of the log that explain a death
# torch makes the folder of its compiler, once, wherever it is imported.
TORCHS = "torchinductor_"
Row = dict[str, Any]


def main(name: str) -> None:
    """Run the cases whose numbers arrive, until stdin ends."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log
    kind = next(kind for kind in kinds() if kind.name == name)
    base = Path(tempfile.gettempdir())
    run = kind.open(_folder(base / "inputs"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(_folder(base / "temporary"))
    os.environ["W2V2_HOME"] = str(base / "home")
    child: Child | None = None
    for line in sys.stdin:
        child = child or Child(kind, run, base)
        row = child.answer(int(line))
        if row["end"] in ("crash", "hang"):
            child.end()
            child = None
        results.write(json.dumps({"kind": name, "case": int(line)} | row) + "\n")
    if child:
        child.end()


class Child:
    """A forked process that runs cases, in a group of its own that is killed at its end."""

    def __init__(self, kind: Kind, run: Run, base: Path) -> None:
        self.kind = kind
        self.begun = os.fstat(2).st_size  # of the log
        asked, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._ask)
            os.close(self._answers)
            try:
                _serve(kind, run, base, asked, answer)
            finally:
                os._exit(99)
        os.close(asked)
        os.close(answer)

    def answer(self, number: int) -> Row:
        """Run a case there, and say how it ended, or how the child did."""
        started = time.monotonic()
        begun, received = _processor_seconds(self.pid), b""
        with suppress(BrokenPipeError):
            os.write(self._ask, f"{number}\n".encode())
        while not received.endswith(b"\n"):
            with selectors.DefaultSelector() as selector:
                selector.register(self._answers, selectors.EVENT_READ)
                ready = selector.select(1.0)
            took = time.monotonic() - started
            if ready:
                chunk = os.read(self._answers, 1 << 16)
                if not chunk:
                    return self._died() | {"left": [], "seconds": round(took, 3)}
                received += chunk
            elif (
                _processor_seconds(self.pid) - begun > self.kind.seconds
                or took > WAITING * self.kind.seconds
            ):
                seconds = {"left": [], "seconds": round(took, 3)}
                return {"end": "hang", "detail": f"over {self.kind.seconds:g} s"} | seconds
        row: Row = json.loads(received)
        return row | {"seconds": round(time.monotonic() - started, 3)}

    def _died(self) -> Row:
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        about = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        with open("/proc/self/fd/2", "rb") as log:
            log.seek(self.begun)
            lines = log.read().decode(errors="replace").splitlines()
        starts = [at for at, line in enumerate(lines) if line.startswith(("Fatal", "Traceback"))]
        told = lines[starts[-1] :] if starts else lines[-LINES:]
        return {"end": "crash", "detail": f"{about}: {' / '.join(told[:LINES])}"[:600]}

    def end(self) -> None:
        """Kill it with all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._ask)
        os.close(self._answers)


def _serve(kind: Kind, run: Run, base: Path, asked: int, answer: int) -> None:
    """Run the cases whose numbers arrive; the child's whole life."""
    os.setpgid(0, 0)
    faulthandler.enable()
    _bound(kind)
    for number in _numbers(asked):
        outcome = one(run, number, base)
        os.write(answer, (json.dumps(asdict(outcome)) + "\n").encode())


def _numbers(descriptor: int) -> Iterator[int]:
    with os.fdopen(descriptor) as file:
        while line := file.readline():
            yield int(line)


def one(run: Run, number: int, base: Path) -> Outcome:
    """Run a case in an empty folder with an empty home, and see what it leaves."""
    shutil.rmtree(base / "home", ignore_errors=True)
    shutil.rmtree(base / "case", ignore_errors=True)
    place = _folder(base / "case")
    before = leavings(base)
    try:
        outcome = run(number, place)
    except Exception as error:  # of the case itself, which should have judged all others
        traceback.print_exc()
        outcome = Outcome("traceback", f"the case itself: {error!r}"[:300])
    left = tuple(sorted(leavings(base) - before))
    shutil.rmtree(place, ignore_errors=True)
    return replace(outcome, left=outcome.left + left) if left else outcome


def leavings(base: Path) -> set[str]:
    """Temporary files, children, open files and shared memory of this process."""
    own = str(os.getpid())
    names = [path.name for path in (base / "temporary").glob("*")]
    found = {f"file {name}" for name in names if not name.startswith(TORCHS)}
    found |= {f"shared memory {name}" for name in os.listdir("/dev/shm") if own in name}
    # multiprocessing's own, which ends with the program.
    tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):  # a thread that has just ended
            children = Path(f"/proc/self/task/{task}/children").read_text().split()
            found |= {f"process {child}" for child in children if child != str(tracker)}
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of the listing itself is gone
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith(str(base / "case")):
                found.add(f"open {Path(target).name}")
    return found


def _bound(kind: Kind) -> None:
    """Keep the cases of a kind from more memory than it allows beyond what is taken already."""
    if kind.room is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (taken + kind.room, hard))


def _processor_seconds(pid: int) -> float:
    """Seconds that a process, with its children that have ended, has had a processor."""
    with suppress(FileNotFoundError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / CLOCK
    return 0.0


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    main(sys.argv[1])
