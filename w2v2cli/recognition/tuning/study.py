"""The record of a tuning, in SQLite: points, searches and what they found, each stored as it ends.

Any number of processes may work on one study. A search is claimed before it runs; its owner's heart beats in the claim, and
what an owner that died had claimed is free again: that search is done anew, nothing else. Rounds of searches are planned by
whoever comes first; the plan is a function of the rounds before, so it does not matter who that is.
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

from lm.weights.nbest_pool import Parts
from lm.weights.proposals import Point
from w2v2cli.errors import UserError

Kind = Literal["exact", "stopped"]

BUSY = 60.0  # seconds to wait for another process's transaction
BEAT = 2.0  # seconds between heartbeats
SILENT = 30.0  # seconds without one after which an owner on another machine counts as dead
TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trials (number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, point TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (batch INTEGER, round INTEGER, PRIMARY KEY (batch, round));
CREATE TABLE IF NOT EXISTS searches (
    trial INTEGER PRIMARY KEY, batch INTEGER NOT NULL, round INTEGER NOT NULL, rival INTEGER, alpha REAL,
    owner TEXT, beat REAL, kind TEXT, errors TEXT, seconds REAL
);
CREATE TABLE IF NOT EXISTS found (trial INTEGER, segment INTEGER, parts BLOB, PRIMARY KEY (trial, segment));
"""


class StudyError(UserError):
    """A study that is not of what is tuned now, or no study at all."""


@dataclass(frozen=True)
class Search:
    """A point that is searched, not only predicted."""

    trial: int
    rival: int | None = None
    """The trial it races against; None runs to the end."""
    alpha: float | None = None
    """The race's error rate."""
    kind: Kind | None = None
    """None until it is done."""
    errors: Mapping[int, int] | None = None
    """Utterance -> errors: of all of them, or of those before it was stopped."""
    seconds: float = 0.0
    """From its start to its end."""


Found = Mapping[int, Sequence[Parts]]  # segment -> hypotheses


class Study:
    """An open study; `close` it, or use it as a context manager. Threads may share it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open a study or begin one; StudyError when it was begun with other settings, which are named."""
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
            raise StudyError(f"{path} cannot be opened as a study: {error}.") from None
        self._check(settings)
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="study", daemon=True)
        self._heart.start()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this process had claimed and not finished."""
        self._closing.set()
        self._heart.join()
        with self._transaction() as db:
            db.execute(
                "UPDATE searches SET owner = NULL WHERE owner = ? AND kind IS NULL", (self.owner,)
            )
        self._db.close()

    def add_points(self, batch: int, first: int, points: Sequence[Point]) -> None:
        """The points of a batch, unless another process was quicker with the same."""
        rows = [(first + i, batch, json.dumps(point)) for i, point in enumerate(points)]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?, ?)", rows)

    def points(self, batch: int | None = None) -> list[Point]:
        """Of all trials in order, or of a batch's."""
        query = (
            "SELECT point FROM trials"
            + (" WHERE batch = ?" if batch is not None else "")
            + " ORDER BY number"
        )
        with self._lock:
            rows = self._db.execute(query, (batch,) if batch is not None else ()).fetchall()
        return [tuple(json.loads(point)) for (point,) in rows]

    def add_round(self, batch: int, number: int, searches: Sequence[Search]) -> None:
        """Plan a round, unless another process was quicker."""
        with self._transaction() as db:
            new = db.execute("INSERT OR IGNORE INTO rounds VALUES (?, ?)", (batch, number))
            if new.rowcount:
                db.executemany(
                    "INSERT INTO searches (trial, batch, round, rival, alpha) VALUES (?, ?, ?, ?, ?)",
                    [(s.trial, batch, number, s.rival, s.alpha) for s in searches],
                )

    def has_round(self, batch: int, number: int) -> bool:
        """Whether it was planned."""
        with self._lock:
            row = self._db.execute(
                "SELECT 1 FROM rounds WHERE batch = ? AND round = ?", (batch, number)
            ).fetchone()
        return row is not None

    def searches(self, batch: int | None = None, number: int | None = None) -> list[Search]:
        """Of the whole study or of a round, by trial."""
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
        """A search of the round that nobody is at; None when there is none."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT trial, rival, alpha, owner, beat FROM searches WHERE batch = ? AND round = ? AND kind IS NULL "
                "ORDER BY trial",
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
        """Give a claim back."""
        with self._transaction() as db:
            db.execute(
                "UPDATE searches SET owner = NULL WHERE trial = ? AND owner = ?",
                (trial, self.owner),
            )

    def finish(self, search: Search, found: Found) -> None:
        """Store what a claimed search came to, all at once."""
        rows = [(search.trial, segment, _pack(parts)) for segment, parts in found.items()]
        with self._transaction() as db:
            done = db.execute(
                "UPDATE searches SET kind = ?, errors = ?, seconds = ? WHERE trial = ? AND owner = ? AND kind IS NULL",
                (search.kind, json.dumps(search.errors), search.seconds, search.trial, self.owner),
            )
            if (
                done.rowcount
            ):  # else it was taken for dead, and another did it: with the same result
                db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)

    def found(self, trial: int) -> Iterator[tuple[int, list[Parts]]]:
        """The hypotheses a search left, by segment."""
        with self._lock:
            rows = self._db.execute(
                "SELECT segment, parts FROM found WHERE trial = ?", (trial,)
            ).fetchall()
        for segment, blob in rows:
            yield segment, [Parts(*fields) for fields in json.loads(zlib.decompress(blob))]

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
        """Begin with these settings, or hold them against those it was begun with."""
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
                f"{self.path} is the study of another {name}: {_short(then)}, now it is {_short(now)}. Name another place "
                "by --study, or go on as it was begun."
            )

    def _beat(self) -> None:
        """A thread: this process lives."""
        while not self._closing.wait(BEAT):
            with contextlib.suppress(StudyError), self._transaction() as db:
                db.execute(
                    "UPDATE searches SET beat = ? WHERE owner = ? AND kind IS NULL",
                    (time.time(), self.owner),
                )


def _errors(stored: str | None) -> dict[int, int] | None:
    return None if stored is None else {int(u): int(e) for u, e in json.loads(stored).items()}


def _pack(parts: Sequence[Parts]) -> bytes:
    return zlib.compress(
        json.dumps([astuple(each) for each in parts], separators=(",", ":")).encode(), 1
    )


def _is_dead(owner: str, beat: float) -> bool:
    """On this machine by its process, which may have been followed by another of its number; elsewhere by its silence."""
    host, pid, born = owner.rsplit(":", 2)
    if host == socket.gethostname():
        return _born(int(pid)) != born
    return time.time() - beat > SILENT


def _born(pid: int) -> str:
    """When a process began, as far as the system tells; `gone` when there is none."""
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
