"""Workers watched: a case that takes too long, or takes its process with it, is a row like others.

A worker leads a group of processes of its own, and the whole group is killed at its end.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import Kind

ROOT = Path(__file__).resolve().parents[2]
START = 120.0  # seconds until a worker has made its inputs
GRACE = 5.0  # seconds for the end of a worker that has nothing left to do
TAIL = 2000  # characters of a worker's log that explain how it died
CALM = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Row = dict[str, Any]


class Worker:
    """A process that runs cases of a kind, and the log of what it prints."""

    def __init__(self, kind: Kind, log: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="torture-"))
        self._log = log.open("ab")
        self.began = self._log.tell()
        # Threads of their own take no part in what is tried, and their stacks take memory.
        environment = os.environ | dict.fromkeys(CALM, "1") | {"TMPDIR": str(self.folder)}
        environment["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.torture.worker", kind.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=self.folder,
            start_new_session=True,
        )
        self._received = b""
        if not self.line(START):
            self.end()
            tail = log.read_text(errors="replace")[-TAIL:]
            raise RuntimeError(f"The worker for {kind.name} does not start:\n{tail}")

    def ask(self, number: int) -> None:
        """Give it a case. A worker that is gone is found when its answer is waited for."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{number}\n".encode())
            self.process.stdin.flush()

    def line(self, seconds: float) -> str | None:
        """Its next line; None where it takes longer, "" where it has ended."""
        assert self.process.stdout
        while b"\n" not in self._received:
            with selectors.DefaultSelector() as selector:
                selector.register(self.process.stdout, selectors.EVENT_READ)
                if not selector.select(seconds):
                    return None
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                return ""
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def kill(self) -> None:
        """Kill it with all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, calmly: bool = False) -> None:
        """Kill it with all its processes, at once or when it has had time to end by itself."""
        assert self.process.stdin and self.process.stdout
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        if calmly:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        self.kill()
        self.process.wait()
        self.process.stdout.close()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def rows_of(kind: Kind, numbers: Sequence[int], out: Path) -> Iterator[Row]:
    """Run cases one after the other, in a new worker after each that was killed or died."""
    log = out / f"{kind.name.replace(' ', '-')}.log"
    waiting = list(numbers)
    while waiting:
        with working(kind, log) as worker:
            while waiting:
                number = waiting.pop(0)
                worker.ask(number)
                line = worker.line(kind.seconds)
                if line:
                    yield json.loads(line)
                    continue
                row: Row = {"kind": kind.name, "case": number, "left": [], "seconds": kind.seconds}
                if line is None:
                    worker.kill()
                    yield row | {"end": "hang", "detail": f"over {kind.seconds:g} s"}
                else:
                    yield row | {"end": "crash", "detail": died(worker, log)}
                break


@contextmanager
def working(kind: Kind, log: Path) -> Iterator[Worker]:
    """A worker that is gone afterwards."""
    worker = Worker(kind, log)
    try:
        yield worker
    except BaseException:
        worker.end()
        raise
    worker.end(calmly=True)


def died(worker: Worker, log: Path) -> str:
    """How a worker came to its end."""
    code = worker.process.wait()
    with log.open("rb") as file:
        file.seek(worker.began)
        tail = file.read().decode(errors="replace")[-TAIL:].splitlines()
    about = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"{about}: {' / '.join(tail[-6:])}"[:600]
