"""What several ranks have done, put together: a plan by the first, a part by each, merged in the order of the input.

    FOLDER/plan.json          which rank does what; locked by the first rank while it lives
    FOLDER/RUN-RANK.jsonl     a line for each thing done, written as it is done; locked by its rank while that lives

A lock (flock) that is free beside a part without its last line means that the rank has died. Nothing here waits for a rank that
is gone, and a line is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2v2cli.errors import UserError
from w2v2cli.recognition.sharing.ranks import Ranks, Stop, Stopped

Row = dict[str, Any]

PLAN = "plan.json"
END = {"end": True}
PATIENCE = 600.0  # seconds for the other ranks to begin
PAUSE = 0.1  # seconds between looks
GRACE = 5.0  # seconds for the other ranks to end after SIGTERM; torchrun gives 30 before it kills
STOPPED = 143  # exit code after SIGTERM, as shells have it


@dataclass(frozen=True)
class WorkPlan:
    """Who does what."""

    items: Sequence[Any]
    """What the first rank found, in order; plain values that JSON can hold."""
    shares: Sequence[Sequence[int]]
    """For each rank the indices into `items` that it does; what is in none is done already."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Tells the parts of this run from those of earlier ones."""


class Parts:
    """This rank's part and, on the first rank, everyone's."""

    def __init__(self, ranks: Ranks, plan: WorkPlan, folder: Path | None, stop: Stop) -> None:
        self.ranks, self.plan, self.stop = ranks, plan, stop
        self.mine = list(plan.shares[ranks.rank])
        self.missing: list[int] = []
        """Items that no rank has done although `merged` has ended: their ranks died."""
        self._part = (
            None if folder is None else RankFile.begin(folder / f"{plan.run}-{ranks.rank:05}.jsonl")
        )
        self._others = [
            Incoming(folder / f"{plan.run}-{rank:05}.jsonl", rank)
            for rank in range(1, ranks.world)
            if folder is not None
        ]
        self._waiting = deque(sorted(index for share in plan.shares for index in share))
        self._rows: dict[int, Row] = {}
        self._ended = False

    def contribute(self, own: Iterable[Row]) -> None:
        """Write this rank's rows as they come; SystemExit when SIGTERM comes first."""
        try:
            for row in self._interruptible(own):
                self._write(row)
        except Stopped:
            raise SystemExit(STOPPED) from None
        self._write(END)

    def merged(self, own: Iterable[Row]) -> Iterator[Row]:
        """On the first rank: all rows in the order of the items, each as soon as its turn has come.

        A row has its item's number as `index`. Rows of ranks that died are left out and listed in `missing`; SIGTERM
        ends the work, and what all ranks have written until then is still given out.
        """
        try:
            for row in self._interruptible(own):
                self._write(row)
                self._rows[row["index"]] = row
                self._collect()
                yield from self._due()
            self._write(END)
            self._ended = True
            patience = time.monotonic() + PATIENCE
            while any(other.may_come(patience) for other in self._others):
                self._collect()
                yield from self._due()
                self.stop.sleep(PAUSE)
        except Stopped:
            deadline = time.monotonic() + GRACE
            while any(other.alive() for other in self._others) and time.monotonic() < deadline:
                time.sleep(PAUSE)
        self._collect()
        self.missing = [index for index in self._waiting if index not in self._rows]
        yield from (self._rows.pop(index) for index in self._waiting if index in self._rows)

    def _due(self) -> Iterator[Row]:
        """Rows whose turn has come."""
        while self._waiting and self._waiting[0] in self._rows:
            yield self._rows.pop(self._waiting.popleft())

    def _interruptible(self, own: Iterable[Row]) -> Iterator[Row]:
        """Rows as they come; SIGTERM is heard only while this waits for one."""
        rows = iter(own)
        while True:
            with self.stop.interruptible():
                row = next(rows, None)
            if row is None:
                return
            yield row

    def _write(self, row: Row) -> None:
        if self._part is not None:
            self._part.write(row)

    def _collect(self) -> None:
        for other in self._others:
            for row in other.rows():
                self._rows[row["index"]] = row

    def lost(self) -> list[int]:
        """Ranks that ended before they were done."""
        own = [] if self._ended else [self.ranks.rank]
        return own + [other.rank for other in self._others if not other.complete]

    def shortfall(self) -> str:
        """Why items are missing, as the end of a sentence."""
        lost = self.lost()
        who = "rank" if len(lost) == 1 else "ranks"
        return f"{who} {', '.join(map(str, lost))} ended early"

    def close(self) -> None:
        """Let go of this rank's lock."""
        if self._part is not None:
            self._part.close()


class RankFile:
    """A file of rows that one process appends to, whole lines only, and holds a lock on."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def begin(cls, path: Path, content: str = "") -> RankFile:
        """A new file, locked before anyone can see it under its name; UserError when the system cannot."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            part = cls(path, descriptor)
            part._append(content.encode())
            os.replace(beside, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None
        return part

    def write(self, row: Row) -> None:
        """Append a row; UserError when the system cannot."""
        try:
            self._append((json.dumps(row) + "\n").encode())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}.") from None

    def _append(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Unlock it."""
        os.close(self._descriptor)


class Incoming:
    """Another rank's part, read as it grows."""

    def __init__(self, path: Path, rank: int = 0) -> None:
        self.path, self.rank = path, rank
        self.complete = False
        """Whether its last line has come."""
        self._at = 0  # bytes read

    def rows(self) -> list[Row]:
        """What has come since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                lines = file.read()
        except FileNotFoundError:
            return []
        whole = lines[: lines.rfind(b"\n") + 1]
        self._at += len(whole)
        rows = [json.loads(line) for line in whole.splitlines()]
        self.complete = self.complete or END in rows
        return [row for row in rows if row != END]

    def alive(self) -> bool:
        """Whether its writer has begun and not ended."""
        return is_locked(self.path)

    def may_come(self, patience: float) -> bool:
        """Whether more may come: its writer lives, or has not begun and there is patience (monotonic seconds) left."""
        if self.complete:
            return False
        return self.alive() or (not self.path.exists() and time.monotonic() < patience)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file; False when there is no such file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def sharing(
    ranks: Ranks, folder: Path | None, plan: Callable[[], WorkPlan], stop: Stop, keep: bool = False
) -> Iterator[Parts]:
    """The parts of a run whose ranks meet in `folder`; None keeps everything in memory, for a process alone.

    The first rank makes the plan, the others wait for it. The folder goes when the first rank is done; with `keep`,
    rows stay in it if the context ends in an exception, for `leftover_rows` to find.
    """
    if folder is None:
        yield Parts(ranks, plan(), None, stop)
        return
    _make(folder)
    if not ranks.first:
        parts = Parts(ranks, _await_plan(folder, stop), folder, stop)
        try:
            yield parts
        finally:
            parts.close()
        return
    (folder / PLAN).unlink(missing_ok=True)  # of a run that died
    made = plan()
    published = RankFile.begin(
        folder / PLAN, json.dumps({"items": made.items, "shares": made.shares, "run": made.run})
    )
    parts = Parts(ranks, made, folder, stop)
    done = False
    try:
        yield parts
        done = True
    finally:
        published.close()
        parts.close()
        _tidy(folder, everything=done or not keep)


def leftover_rows(folder: Path) -> list[Row]:
    """The rows of earlier runs that were killed."""
    paths = sorted(path for path in folder.glob("*.jsonl") if not is_locked(path))
    return [row for path in paths for row in Incoming(path).rows()]


def _make(folder: Path) -> None:
    """UserError when it cannot be made, or lies in a shared place and is not ours."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UserError(
                f"{folder} belongs to someone else: name another temporary folder by TMPDIR."
            )
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from None


def _await_plan(folder: Path, stop: Stop) -> WorkPlan:
    """The plan of the first rank of this run: one whose lock is free is of a run that died."""
    patience = time.monotonic() + PATIENCE
    path = folder / PLAN
    while not is_locked(path):
        if time.monotonic() > patience:
            raise UserError(
                f"The first rank has put no plan into {folder} within {PATIENCE:.0f} s: do all machines share that folder?"
            )
        try:
            stop.sleep(PAUSE)
        except Stopped:
            raise SystemExit(STOPPED) from None
    return WorkPlan(**json.loads(path.read_text()))


def _tidy(folder: Path, everything: bool) -> None:
    """Remove the plan, empty parts, with `everything` all parts, and the folder if nothing is left in it."""
    (folder / PLAN).unlink(missing_ok=True)
    for path in folder.glob("*.jsonl"):
        if everything or not path.stat().st_size:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of another run is in it
        folder.rmdir()
