"""What a run tells of itself: a JSON line for each update, TensorBoard events if wanted, and how long it will take."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from w2v2cli.errors import UserError

RECENT = 200  # updates that the estimate of the time left looks back on
LOG = "log.jsonl"


class MetricLog:
    """The log of a run's folder. A restarted run drops the lines past the state it goes on from."""

    def __init__(self, folder: Path, update: int, tensorboard: bool = False) -> None:
        """update: updates done; what the log says of later ones is cut off. UserError without tensorboard installed."""
        path = folder / LOG
        if path.exists():
            _cut(path, update)
        self._file = path.open("a", encoding="utf-8")
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError(
                    "--tensorboard needs tensorboard: pip install 'w2v2[tensorboard]'."
                ) from None
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=update)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """One line; each value an event of its own."""
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in metrics.items():
                if name not in ("update", "time") and value is not None:
                    self._events.add_scalar(name, value, metrics["update"])

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, in order; a last line cut short by a kill is left out. UserError where there is none."""
    path = folder / LOG
    if not path.is_file():
        raise UserError(f"{folder} is no training run: it has no {LOG}.")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _cut(path: Path, update: int) -> None:
    """Keep the lines up to an update."""
    rows = read_log(path.parent)
    beside = path.with_name(path.name + ".part")
    beside.write_text(
        "".join(json.dumps(row) + "\n" for row in rows if row["update"] <= update), encoding="utf-8"
    )
    beside.replace(path)


class Pace:
    """Seconds an update takes, and so how long the rest will: validations and states counted in."""

    def __init__(self, done: int, updates: int) -> None:
        self.done, self.updates = done, updates
        self._ends: deque[tuple[int, float]] = deque([(done, time.perf_counter())], maxlen=RECENT)

    def tick(self, done: int) -> None:
        """An update has ended."""
        self.done = done
        self._ends.append((done, time.perf_counter()))

    @property
    def seconds_per_update(self) -> float:
        """The mean over the last updates, what happened between them included; 0 before the second."""
        (first, began), (last, ended) = self._ends[0], self._ends[-1]
        return (ended - began) / (last - first) if last > first else 0.0

    @property
    def seconds_left(self) -> float:
        """Until the last update."""
        return self.seconds_per_update * (self.updates - self.done)
