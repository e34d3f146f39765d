"""One run divided among ranks: the first rank plans it, each rank writes rows, the first merges.

    FOLDER/plan.json          which rank does what; the first rank holds its lock while it lives
    FOLDER/RUN-RANK.jsonl     a line for each finished item; its rank holds its lock while it lives

Rows are merged in the order of the input, each as soon as its turn has come. Nothing waits for a
rank that has died: see `sharing.rank_files`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition.sharing.rank_files import Incoming, Json, RankFile, is_locked
from w2v2cli.recognition.sharing.ranks import Stop, Stopped

PLAN = "plan.json"
RANKS_BEGIN = 600.0  # seconds within which every rank must have begun; loading torch takes some
PAUSE = 0.1  # seconds between two looks at the other ranks
GRACE = 5.0  # seconds for the other ranks to end after SIGTERM; torchrun kills after 30
STOPPED = 143  # exit code after SIGTERM, as shells have it


class Row(Protocol):
    """What a rank found for one item, in a form that another rank can read."""

    def to_json(self) -> Json:
        """A JSON object without the keys `index` and `end`."""

    @classmethod
    def from_json(cls, json: Json, /) -> Any:
        """The row that `to_json` wrote."""


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class WorkPlan:
    """Which rank does which items."""

    items: Sequence[Any]
    """All items that the first rank found, in order; values that JSON can hold."""
    shares: Sequence[Sequence[int]]
    """For each rank its indices into `items`. An item in no share was done by an earlier run."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Prefix of this run's files, which keeps them apart from those of earlier runs."""


class SharedRun(Generic[RowT]):
    """This rank's share of a run and, on the first rank, the rows of all ranks."""

    def __init__(
        self, ranks: Ranks, plan: WorkPlan, folder: Path | None, stop: Stop, row_type: type[RowT]
    ) -> None:
        """folder: where the ranks' files lie; None for a process alone, which writes none."""
        self.ranks, self.plan, self.stop = ranks, plan, stop
        self.mine = list(plan.shares[ranks.rank])
        """Indices of the items that this rank does."""
        self.missing: list[int] = []
        """Indices of items that no rank has done by the end of `merged`: their ranks died."""
        self._row_type = row_type
        self._file = None if folder is None else RankFile.begin(self._path(folder, ranks.rank))
        self._others = [
            Incoming(self._path(folder, rank), rank)
            for rank in range(1, ranks.world)
            if folder is not None
        ]
        self._waiting = deque(sorted(index for share in plan.shares for index in share))
        self._rows: dict[int, RowT] = {}
        self._ended = False

    def _path(self, folder: Path, rank: int) -> Path:
        return folder / f"{self.plan.run}-{rank:05}.jsonl"

    def contribute(self, own: Iterable[tuple[int, RowT]]) -> None:
        """Write this rank's rows, (index of the item, row), as they come.

        Raises SystemExit when SIGTERM arrives first.
        """
        try:
            for index, row in self._interruptible(own):
                self._write(index, row)
        except Stopped:
            raise SystemExit(STOPPED) from None
        self._end()

    def merged(self, own: Iterable[tuple[int, RowT]]) -> Iterator[tuple[int, RowT]]:
        """On the first rank: (index of the item, row) of all ranks, ascending by index.

        Each row is yielded as soon as all before it were. Rows of ranks that died are left out and
        listed in `missing`. After SIGTERM, what all ranks have written until then is still yielded.
        """
        try:
            for index, row in self._interruptible(own):
                self._write(index, row)
                self._rows[index] = row
                self._collect()
                yield from self._due()
            self._end()
            self._ended = True
            deadline = time.monotonic() + RANKS_BEGIN
            while any(other.may_grow(deadline) for other in self._others):
                self._collect()
                yield from self._due()
                self.stop.sleep(PAUSE)
        except Stopped:
            deadline = time.monotonic() + GRACE
            while any(other.alive() for other in self._others) and time.monotonic() < deadline:
                time.sleep(PAUSE)
        self._collect()
        self.missing = [index for index in self._waiting if index not in self._rows]
        for index in self._waiting:
            if index in self._rows:
                yield index, self._rows.pop(index)

    def _due(self) -> Iterator[tuple[int, RowT]]:
        """The rows that follow on from those already yielded."""
        while self._waiting and self._waiting[0] in self._rows:
            index = self._waiting.popleft()
            yield index, self._rows.pop(index)

    def _interruptible(self, own: Iterable[tuple[int, RowT]]) -> Iterator[tuple[int, RowT]]:
        """The rows as they come; SIGTERM interrupts only the wait for one, never its writing."""
        rows = iter(own)
        while True:
            with self.stop.interruptible():
                found = next(rows, None)
            if found is None:
                return
            yield found

    def _write(self, index: int, row: RowT) -> None:
        if self._file is not None:
            self._file.write({"index": index, **row.to_json()})

    def _end(self) -> None:
        if self._file is not None:
            self._file.end()

    def _collect(self) -> None:
        """Read what the other ranks have written since the last time."""
        for other in self._others:
            for line in other.lines():
                self._rows[line.pop("index")] = self._row_type.from_json(line)

    def lost(self) -> list[int]:
        """The ranks that ended before they had done their share."""
        own = [] if self._ended else [self.ranks.rank]
        return own + [other.rank for other in self._others if not other.complete]

    def shortfall(self) -> str:
        """Why items are missing, as the end of a sentence."""
        lost = self.lost()
        who = "rank" if len(lost) == 1 else "ranks"
        return f"{who} {', '.join(map(str, lost))} ended early"

    def close(self) -> None:
        """Release the lock of this rank's file."""
        if self._file is not None:
            self._file.close()


@contextlib.contextmanager
def sharing(
    ranks: Ranks,
    folder: Path | None,
    plan: Callable[[], WorkPlan],
    stop: Stop,
    row_type: type[RowT],
    keep: bool = False,
) -> Iterator[SharedRun[RowT]]:
    """This rank's part of a run whose ranks meet in `folder`.

    folder: None keeps everything in memory, for a process alone.
    plan: called on the first rank only; the others wait for the file it writes.
    keep: leave the rows in `folder` if the block raises; `leftover_lines` finds them.

    The first rank removes the folder at the end. Raises UserError.
    """
    if folder is None:
        yield SharedRun(ranks, plan(), None, stop, row_type)
        return
    _make(folder)
    if not ranks.first:
        parts = SharedRun(ranks, _await_plan(folder, stop), folder, stop, row_type)
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
    parts = SharedRun(ranks, made, folder, stop, row_type)
    done = False
    try:
        yield parts
        done = True
    finally:
        published.close()
        parts.close()
        _tidy(folder, everything=done or not keep)


def _make(folder: Path) -> None:
    """Make the folder; UserError if that fails, or if it lies in a shared place and is not ours."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UserError(
                f"{folder} belongs to another user: name another temporary folder in TMPDIR."
            )
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from None


def _await_plan(folder: Path, stop: Stop) -> WorkPlan:
    """The plan of the first rank of this run; a plan whose lock is free is of a run that died."""
    deadline = time.monotonic() + RANKS_BEGIN
    path = folder / PLAN
    while not is_locked(path):
        if time.monotonic() > deadline:
            raise UserError(
                f"The first rank has written no plan to {folder} within {RANKS_BEGIN:.0f} s: "
                "do all machines share that folder?"
            )
        try:
            stop.sleep(PAUSE)
        except Stopped:
            raise SystemExit(STOPPED) from None
    return WorkPlan(**json.loads(path.read_text()))


def _tidy(folder: Path, everything: bool) -> None:
    """Remove the plan and the empty files, with `everything` all files; the folder if empty."""
    (folder / PLAN).unlink(missing_ok=True)
    for path in folder.glob("*.jsonl"):
        if everything or not path.stat().st_size:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds files of another run
        folder.rmdir()
