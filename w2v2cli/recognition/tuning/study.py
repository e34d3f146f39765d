"""The record of a tuning in SQLite: points, searches and what they found, stored as each ends.

Any number of processes may work on one study. A search is claimed before it runs, and its owner
renews the claim with a heartbeat. The claim of an owner that died is free again, so only that
search is repeated. The first process to reach a round plans it; a plan depends on the earlier
rounds only, so it does not matter which process that is.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from lm.weights.nbest_pool import ScoreParts
from lm.weights.proposals import Point
from w2v2cli.errors import UserError

Kind = Literal["exact", "stopped"]

BUSY = 60.0  # seconds to wait for the transaction of another process
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
    rival INTEGER, alpha REAL, owner TEXT, beat REAL, kind TEXT, errors TEXT, seconds REAL
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
    kind: Kind | None = None
    """None until the search is done."""
    errors: Mapping[int, int] | None = None
    """Utterance -> errors, for all utterances or for those before the race was lost."""
    seconds: float = 0.0
    """Duration of the search."""


Found = Mapping[int, Sequence[ScoreParts]]  # segment -> hypotheses


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
            self._db.execute("PRAGMA journal_mode=WAL")
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
        """Release the searches that this process has claimed and not finished."""
        self._closing.set()
        self._heart.join()
        with self._transaction() as db:
            db.execute(
                "UPDATE searches SET owner = NULL WHERE owner = ? AND kind IS NULL", (self.owner,)
            )
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
        query = (
            f"SELECT trial, rival, alpha, kind, errors, seconds FROM searches{where} ORDER BY trial"
        )
        with self._lock:
            rows = self._db.execute(query, () if batch is None else (batch, number)).fetchall()
        return [
            Search(trial, rival, alpha, kind, _errors(errors), seconds or 0.0)
            for trial, rival, alpha, kind, errors, seconds in rows
        ]

    def claim(self, batch: int, number: int) -> Search | None:
        """Claim a search of the round that no living owner has; None when there is none."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT trial, rival, alpha, owner, beat FROM searches "
                "WHERE batch = ? AND round = ? AND kind IS NULL ORDER BY trial",
                (batch, number),
            ).fetchall()
            for trial, rival, alpha, owner, beat in rows:
                if owner is None or (owner != self.owner and _is_dead(owner, beat)):
                    db.execute(
                        "UPDATE searches SET owner = ?, beat = ? WHERE trial = ?",
                        (self.owner, time.time(), trial),
                    )
                    return Search(trial, rival, alpha)
        return None

    def release(self, trial: int) -> None:
        """Release a claim."""
        with self._transaction() as db:
            db.execute(
                "UPDATE searches SET owner = NULL WHERE trial = ? AND owner = ?",
                (trial, self.owner),
            )

    def finish(self, search: Search, found: Found) -> None:
        """Store the result of a claimed search in one transaction."""
        rows = [(search.trial, segment, _pack(parts)) for segment, parts in found.items()]
        with self._transaction() as db:
            done = db.execute(
                "UPDATE searches SET kind = ?, errors = ?, seconds = ? "
                "WHERE trial = ? AND owner = ? AND kind IS NULL",
                (search.kind, json.dumps(search.errors), search.seconds, search.trial, self.owner),
            )
            # Otherwise this process was taken for dead, and another one did the same search.
            if done.rowcount:
                db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)

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
                    "UPDATE searches SET beat = ? WHERE owner = ? AND kind IS NULL",
                    (time.time(), self.owner),
                )


def _errors(stored: str | None) -> dict[int, int] | None:
    return None if stored is None else {int(u): int(e) for u, e in json.loads(stored).items()}


def _pack(parts: Sequence[ScoreParts]) -> bytes:
    return zlib.compress(
        json.dumps([astuple(each) for each in parts], separators=(",", ":")).encode(), 1
    )


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
