"""The record of a tuning in SQLite: points, searches and what they found, stored as each ends.

Any number of processes may work on one study. The utterances of a round are shared out in lots: a
lot is claimed before it is searched, and its owner renews the claim with a heartbeat. The claim of
an owner that died is free again, so only that lot is repeated. The first process to reach a round
plans it; a plan depends on the earlier rounds only, so it does not matter which process that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.score_parts import ScoreParts
from lm.weights.proposals import Point
from lm.weights.rounds import End, Lot
from w2v2cli.errors import UserError

BUSY = 60.0  # seconds to wait for the transaction of another process
PAUSE = 0.02  # seconds between two looks at it
BEAT = 2.0  # seconds between two heartbeats
SILENT = 30.0  # seconds without a heartbeat after which an owner on another machine counts as dead
TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, point TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS rounds (batch INTEGER, round INTEGER, PRIMARY KEY (batch, round));
CREATE TABLE IF NOT EXISTS searches (
    trial INTEGER PRIMARY KEY, batch INTEGER NOT NULL, round INTEGER NOT NULL,
    rival INTEGER, alpha REAL, kind TEXT, errors TEXT
);
CREATE TABLE IF NOT EXISTS lots (
    batch INTEGER, round INTEGER, first INTEGER, last INTEGER, owner TEXT, beat REAL, errors TEXT,
    PRIMARY KEY (batch, round, first)
);
CREATE TABLE IF NOT EXISTS found (
    trial INTEGER, segment INTEGER, parts BLOB, PRIMARY KEY (trial, segment)
);
"""


class StudyError(UserError):
    """A file that is not a study, or a study of other settings."""


@dataclass(frozen=True)
class Search:
    """A point that is searched, not only predicted."""

    trial: int
    """Number of the point."""
    rival: int | None = None
    """The trial it races against; None searches to the end."""
    alpha: float | None = None
    """Probability that the race stops a point as good as its rival."""
    kind: End | None = None
    """None until the search is done."""
    errors: Mapping[int, int] | None = None
    """Utterance -> errors, for all utterances or for those before the race was lost."""


Found = Mapping[int, Sequence[ScoreParts]]  # segment -> hypotheses


def _write_ahead(db: sqlite3.Connection) -> None:
    """Write ahead to a journal. Here SQLite does not itself wait for who writes at the moment."""
    patience = time.monotonic() + BUSY
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > patience:
                raise
        time.sleep(PAUSE)


class Study:
    """An open study; `close` it, or use it as a context manager. Threads may share it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open a study, or begin one with these settings.

        settings: values that JSON can hold, by names that a person understands.

        Raises StudyError for a study of other settings; the message names the first that differs.
        """
        self.path = path
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{_born(os.getpid())}"
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            _write_ahead(self._db)
            # The last lots may be lost with the machine's power, and are searched again then.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(TABLES)
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StudyError(f"{path} cannot be opened as a study: {reason}.") from None
        self._check(settings)
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="study", daemon=True)
        self._heart.start()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lots that this process has claimed and not finished."""
        self._closing.set()
        self._heart.join()
        self.release()
        self._db.close()

    def add_points(self, batch: int, first: int, points: Sequence[Point]) -> None:
        """Store the points of a batch, unless another process has stored them already.

        first: number of the first point.
        """
        rows = [(first + i, batch, json.dumps(point)) for i, point in enumerate(points)]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?, ?)", rows)

    def points(self, batch: int | None = None) -> list[Point]:
        """The points of a batch, or of all trials, in order."""
        query = (
            "SELECT point FROM trials"
            + (" WHERE batch = ?" if batch is not None else "")
            + " ORDER BY number"
        )
        with self._lock:
            rows = self._db.execute(query, (batch,) if batch is not None else ()).fetchall()
        return [tuple(json.loads(point)) for (point,) in rows]

    def add_round(self, batch: int, number: int, searches: Sequence[Search]) -> None:
        """Plan round `number` of a batch, unless another process has planned it already."""
        with self._transaction() as db:
            new = db.execute("INSERT OR IGNORE INTO rounds VALUES (?, ?)", (batch, number))
            if new.rowcount:
                db.executemany(
                    "INSERT INTO searches (trial, batch, round, rival, alpha) "
                    "VALUES (?, ?, ?, ?, ?)",
                    [(s.trial, batch, number, s.rival, s.alpha) for s in searches],
                )

    def has_round(self, batch: int, number: int) -> bool:
        """Whether a round was planned."""
        with self._lock:
            row = self._db.execute(
                "SELECT 1 FROM rounds WHERE batch = ? AND round = ?", (batch, number)
            ).fetchone()
        return row is not None

    def searches(self, batch: int | None = None, number: int | None = None) -> list[Search]:
        """The searches of a round, or of the whole study, by trial."""
        where = "" if batch is None else " WHERE batch = ? AND round = ?"
        query = f"SELECT trial, rival, alpha, kind, errors FROM searches{where} ORDER BY trial"
        with self._lock:
            rows = self._db.execute(query, () if batch is None else (batch, number)).fetchall()
        return [
            Search(trial, rival, alpha, kind, _errors(errors))
            for trial, rival, alpha, kind, errors in rows
        ]

    def claim(self, batch: int, number: int, most: int, total: int) -> tuple[int, int] | None:
        """Claim utterances of a round, as (first, last + 1) places in its order.

        Those come first that a dead owner had, or that were released; then the next `most` of
        `total`. None where every utterance is done or has a living owner.
        """
        with self._transaction() as db:
            rows = db.execute(
                "SELECT first, last, owner, beat FROM lots "
                "WHERE batch = ? AND round = ? AND errors IS NULL ORDER BY first",
                (batch, number),
            ).fetchall()
            mine = (self.owner, time.time())
            for first, last, owner, beat in rows:
                if owner is None or (owner != self.owner and _is_dead(owner, beat)):
                    db.execute(
                        "UPDATE lots SET owner = ?, beat = ? "
                        "WHERE batch = ? AND round = ? AND first = ?",
                        (*mine, batch, number, first),
                    )
                    return first, last
            [(first,)] = db.execute(
                "SELECT COALESCE(MAX(last), 0) FROM lots WHERE batch = ? AND round = ?",
                (batch, number),
            )
            last = min(first + most, total)
            if first == last:
                return None
            db.execute(
                "INSERT INTO lots VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (batch, number, first, last, *mine),
            )
        return first, last

    def release(self) -> None:
        """Release all lots that this process has claimed and not finished."""
        with self._transaction() as db:
            db.execute(
                "UPDATE lots SET owner = NULL WHERE owner = ? AND errors IS NULL", (self.owner,)
            )

    def finish_lot(self, batch: int, number: int, lot: Lot, found: Mapping[int, Found]) -> None:
        """Store the results of a claimed lot in one transaction. found: by trial."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE lots SET errors = ? WHERE batch = ? AND round = ? AND first = ? "
                "AND owner = ? AND errors IS NULL",
                (json.dumps(lot.errors), batch, number, lot.first, self.owner),
            )
            if not done.rowcount:  # this process was taken for dead, and another one did the lot
                return
            for trial, segments in found.items():
                [(ended,)] = db.execute(
                    "SELECT kind IS NOT NULL FROM searches WHERE trial = ?", (trial,)
                )
                if not ended:
                    rows = [(trial, segment, _pack(parts)) for segment, parts in segments.items()]
                    db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)

    def lots(self, batch: int, number: int, first: int) -> list[Lot]:
        """The finished lots of a round from place `first` on, in order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT first, errors FROM lots WHERE batch = ? AND round = ? AND first >= ? "
                "AND errors IS NOT NULL ORDER BY first",
                (batch, number, first),
            ).fetchall()
        return [
            Lot(start, {int(trial): found for trial, found in json.loads(errors).items()})
            for start, errors in rows
        ]

    def finish(self, search: Search, beyond: Iterable[int] = ()) -> None:
        """Store how a search ended, if no other process did.

        beyond: segments after the end, whose hypotheses are forgotten.
        """
        with self._transaction() as db:
            done = db.execute(
                "UPDATE searches SET kind = ?, errors = ? WHERE trial = ? AND kind IS NULL",
                (search.kind, json.dumps(search.errors), search.trial),
            )
            if done.rowcount:
                db.executemany(
                    "DELETE FROM found WHERE trial = ? AND segment = ?",
                    [(search.trial, segment) for segment in beyond],
                )

    def found(self, trial: int) -> Iterator[tuple[int, list[ScoreParts]]]:
        """(segment, hypotheses) that a search has found."""
        with self._lock:
            rows = self._db.execute(
                "SELECT segment, parts FROM found WHERE trial = ?", (trial,)
            ).fetchall()
        for segment, blob in rows:
            yield segment, [ScoreParts(*fields) for fields in json.loads(zlib.decompress(blob))]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise StudyError(f"{self.path} cannot be written: {error}.") from None

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Store the settings of a new study; compare them with those of an old one."""
        wanted = {name: json.dumps(value) for name, value in settings.items()}
        with self._transaction() as db:
            before = dict(db.execute("SELECT name, value FROM settings"))
            if not before:
                db.executemany("INSERT INTO settings VALUES (?, ?)", wanted.items())
        if before and before != wanted:
            name = next(
                name for name in {**wanted, **before} if wanted.get(name) != before.get(name)
            )
            then, now = (json.loads(values.get(name, "null")) for values in (before, wanted))
            self._db.close()
            raise StudyError(
                f"{self.path} is the study of another {name}: {_short(then)}, "
                f"now it is {_short(now)}. Name another folder with --study, "
                "or give the settings it was begun with."
            )

    def _beat(self) -> None:
        """Renew the claims of this process; runs in a thread of its own."""
        while not self._closing.wait(BEAT):
            with contextlib.suppress(StudyError), self._transaction() as db:
                db.execute(
                    "UPDATE lots SET beat = ? WHERE owner = ? AND errors IS NULL",
                    (time.time(), self.owner),
                )


def _errors(stored: str | None) -> dict[int, int] | None:
    return None if stored is None else {int(u): int(e) for u, e in json.loads(stored).items()}


def _pack(parts: Sequence[ScoreParts]) -> bytes:
    return zlib.compress(json.dumps(list(parts), separators=(",", ":")).encode(), 1)


def _is_dead(owner: str, beat: float) -> bool:
    """Whether the owner of a claim has ended.

    A local owner is dead if its pid is gone or was reused, a remote one if it has sent no heartbeat
    for SILENT seconds.
    """
    host, pid, born = owner.rsplit(":", 2)
    if host == socket.gethostname():
        return _born(int(pid)) != born
    return time.time() - beat > SILENT


def _born(pid: int) -> str:
    """When a process began, in clock ticks since the boot; "gone" where there is no such process.

    "alive" where the system does not tell when it began.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "alive"
    return "gone" if status[0] in "ZX" else status[19]


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 40 and " " not in text else text
