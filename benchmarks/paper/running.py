"""Carrying out cells: here one by one, or several at once in processes of their own.

A cell is done when its file of figures is there, which appears whole or not at all. What is
stopped, by whatever, is done by the next call, a training from where it was.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.paper.cells import Cell
from benchmarks.paper.jobs import Place, Stopped, figures_file
from storage.whole import write_whole
from w2v2cli.errors import UserError
from w2v2cli.processes import NOTICES, usable_cores
from w2v2cli.training.signals import stop_notice

ROOT = Path(__file__).parents[2]
STOPPED = 75  # exit code of a process whose training was stopped and has saved
Command = Callable[[Cell], list[str]]


@dataclass
class Report:
    """What a call did."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """The reason by the name of the cell."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The cell that failed by the name of one that needs it."""
    stopped: bool = False


def is_done(place: Place, cell: Cell) -> bool:
    """Whether the figures of a cell are there."""
    return figures_file(place.output, cell.name).is_file()


def carry_out(cell: Cell, place: Place) -> None:
    """Do a cell in this process, and keep its figures. Raises UserError and `Stopped`."""
    began, used = time.monotonic(), _processor_seconds()
    figures = cell.job.run(place, cell.name)
    kept = {
        "cell": cell.name,
        "kind": cell.job.kind,
        "seconds": time.monotonic() - began,
        "processor_seconds": _processor_seconds() - used,
        "figures": figures,
    }
    path = figures_file(place.output, cell.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(kept) + "\n")
    for state in place.run(cell.name).glob("state-*.pt"):
        state.unlink()  # what a restart needs, many times as large as the weights


def _processor_seconds() -> float:
    """Seconds that this process and its children that have ended had a core."""
    return sum(os.times()[:4])


def run_here(cells: Sequence[Cell], place: Place, say: Callable[[str], None]) -> Report:
    """Do cells one after another in this process.

    One that fails is told, and the rest goes on; those that need it are left out.
    """
    report = Report()
    with stop_notice() as notice:
        for cell in cells:
            if is_done(place, cell) or _left_out(cell, report):
                continue
            if notice or place.signals:
                report.stopped = True
                break
            try:
                carry_out(cell, place)
            except Stopped:
                report.stopped = True
                break
            # What data, memory, disk and libraries come to; other errors are faults of this code.
            except (UserError, OSError, ValueError, RuntimeError, MemoryError) as error:
                _fail(cell, f"{type(error).__name__}: {error}", report, say)
            else:
                report.done.append(cell.name)
                say(f"{cell.name}: done.")
    return report


def run_beside(
    cells: Sequence[Cell], place: Place, jobs: int, command: Command, say: Callable[[str], None]
) -> Report:
    """Do cells in up to `jobs` processes at once; see `run_here`.

    command: the call that does a cell. SIGTERM and Ctrl-C are passed on, and waited for: a training
    saves before it ends.
    """
    report, waiting, running = Report(), list(cells), dict[str, subprocess.Popen[bytes]]()
    events: queue.SimpleQueue[tuple[Cell, int] | None] = queue.SimpleQueue()
    total = sum(not is_done(place, cell) for cell in cells)
    with _notices(lambda: events.put(None)):
        try:
            while True:
                if not report.stopped:
                    _begin_ready(waiting, running, report, place, jobs, command, events, say)
                if not running:
                    break
                event = events.get()
                if event is None:
                    _stop(report, running)
                    continue
                cell, code = event
                del running[cell.name]
                if is_done(place, cell):
                    report.done.append(cell.name)
                    say(f"{cell.name}: done ({len(report.done)} of {total}).")
                elif code == STOPPED or report.stopped:
                    report.stopped = True
                    _stop(report, running)
                else:
                    _fail(cell, _reason(place, cell, code), report, say)
        finally:  # after Ctrl-C some are still there
            _stop(report, running)
            for process in running.values():
                process.wait()
    return report


def _begin_ready(
    waiting: list[Cell],
    running: dict[str, subprocess.Popen[bytes]],
    report: Report,
    place: Place,
    jobs: int,
    command: Command,
    events: queue.SimpleQueue[tuple[Cell, int] | None],
    say: Callable[[str], None],
) -> None:
    """Begin the first cells that can be, as many as there is room for."""

    def done_before(name: str) -> bool:
        return figures_file(place.output, name).is_file()

    begun = True
    while begun:  # a cell that is left out may leave out others
        begun = False
        for cell in list(waiting):
            if is_done(place, cell) or _left_out(cell, report):
                waiting.remove(cell)
                begun = True
                break
            if len(running) < jobs and all(done_before(name) for name in cell.needs):
                waiting.remove(cell)
                running[cell.name] = _begin(cell, place, jobs, command(cell), events)
                begun = True
                break


def _begin(
    cell: Cell,
    place: Place,
    jobs: int,
    words: list[str],
    events: queue.SimpleQueue[tuple[Cell, int] | None],
) -> subprocess.Popen[bytes]:
    """Start the process of a cell; its end is an event.

    Processes share the cores among them, where OMP_NUM_THREADS does not say how many threads each
    has: on a busy machine a thread that waits for another costs more than it brings.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(usable_cores() // jobs, 1))
    log = log_file(place.output, cell.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on
        )
    threading.Thread(target=lambda: events.put((cell, process.wait())), daemon=True).start()
    return process


def log_file(output: Path, cell: str) -> Path:
    """What the process of a cell printed."""
    return output / "logs" / f"{cell}.txt"


def _stop(report: Report, running: dict[str, subprocess.Popen[bytes]]) -> None:
    report.stopped = report.stopped or bool(running)
    for process in running.values():
        process.terminate()


@contextmanager
def _notices(received: Callable[[], None]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda number, frame: received()) for number in NOTICES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _left_out(cell: Cell, report: Report) -> bool:
    """Whether a cell cannot be done since one that it needs has failed."""
    for name in cell.needs:
        if name in report.failed or name in report.left_out:
            report.left_out[cell.name] = report.left_out.get(name, name)
    return cell.name in report.left_out


def _fail(cell: Cell, reason: str, report: Report, say: Callable[[str], None]) -> None:
    report.failed[cell.name] = reason
    say(f"{cell.name}: failed. {reason}")


def _reason(place: Place, cell: Cell, code: int) -> str:
    """The last line that a process printed, and where the others are."""
    log = log_file(place.output, cell.name)
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "It printed nothing.")
    return f"{last.removeprefix('Error: ')} (exit code {code}; {log})"


def own_command(cell: Cell, place: Place, jobs: int, budget: float) -> list[str]:
    """The call of this package that does one cell."""
    words: list[Any] = [sys.executable, "-m", "benchmarks.paper", "--scale", place.scale.name]
    words += ["--data", place.data, "-o", place.output, "--device", place.device]
    words += ["--jobs", jobs, "--budget", budget, "--cell", cell.name]
    return [str(word) for word in words]
