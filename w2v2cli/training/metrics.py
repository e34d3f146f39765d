"""What a run reports: a line of JSON for each update, other trackers if wanted, the time left."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from storage.json_text import JsonError, parsed
from storage.whole import write_whole
from w2v2cli.errors import UserError

LOG = "log.jsonl"
WANDB_ID = "wandb-id.txt"


@dataclass(frozen=True)
class Progress:
    """An update that has just ended."""

    update: int
    """Updates done, this one included."""
    updates: int
    """Updates of the whole schedule."""
    metrics: Mapping[str, float]
    """Everything logged of this update, by name; validation metrics where it was validated."""
    seconds_left: float
    """Estimate of the time to the last update, validations and checkpoints included."""


class MetricLog:
    """The log of a run's folder. A continued run drops the lines after the state it starts from."""

    def __init__(self, folder: Path, update: int, tensorboard: bool = False) -> None:
        """Open the log to append; lines of updates after `update` are removed.

        Raises UserError when tensorboard is wanted and not installed.
        """
        path = folder / LOG
        if path.exists():
            _drop_after(update, path)
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
        """Append a line, and one TensorBoard event for each value."""
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


@contextmanager
def weights_and_biases(
    folder: Path, settings: Mapping[str, Any]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a run of Weights & Biases; the function it yields logs the metrics of an update.

    Its name is that of the folder, and its project `w2v2` unless WANDB_PROJECT names another. A run
    that is continued goes on in the same run there, whose id the folder keeps. WANDB_MODE=offline
    writes into the folder alone.

    Raises UserError without wandb, and where wandb cannot begin.
    """
    try:
        import wandb
    except ImportError:
        raise UserError("--wandb needs wandb: pip install 'w2v2[wandb]'.") from None
    kept = folder / WANDB_ID
    if not kept.exists():
        write_whole(kept, secrets.token_hex(8) + "\n")
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "w2v2",
            name=folder.resolve().name,
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )
    except wandb.Error as error:
        raise UserError(
            f"Weights & Biases cannot begin ({error}): log in by `wandb login`, or set "
            "WANDB_MODE=offline."
        ) from None

    def log(metrics: Mapping[str, Any]) -> None:
        values = {name: value for name, value in metrics.items() if name not in ("update", "time")}
        run.log(values, step=int(metrics["update"]))

    failed = True
    try:
        yield log
        failed = False
    finally:
        run.finish(exit_code=int(failed))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log in order, without a last line that a kill cut short.

    Each has its number of updates, and numbers or None by name. Raises UserError where there is no
    log, and for a damaged line before the last one.
    """
    path = folder / LOG
    if not path.is_file():
        raise UserError(f"{folder} is not the folder of a training run: it has no {LOG}.")
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    rows = [_row(line) for line in lines]
    if rows[-1] is None:
        rows.pop()
    if None in rows:
        raise UserError(
            f"{path}, line {rows.index(None) + 1} is damaged: remove that line, or the file."
        )
    return [row for row in rows if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of a log; None for a damaged one."""
    try:
        row = parsed(line)
        numbers = [float(value) for value in row.values() if value is not None]
    except (JsonError, AttributeError, TypeError, ValueError, OverflowError):
        return None
    whole = isinstance(row.get("update"), int) and len(numbers) > 0
    return row if whole else None


def _drop_after(update: int, path: Path) -> None:
    rows = read_log(path.parent)
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows if row["update"] <= update))
