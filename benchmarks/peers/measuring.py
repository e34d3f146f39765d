"""Words, time and memory of one system, recording by recording, kept in a file as they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.peers.sizes import megabytes, package_megabytes
from benchmarks.peers.systems import Peer, folder_of
from benchmarks.usage import cpu_seconds, family, own_proportional_mb, status_mb
from models.config import SAMPLE_RATE
from storage.hashing import file_hash, hash_of
from w2v2cli.console import say
from w2v2cli.data.recordings import read_utterance
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

TOLD = 20  # recordings between two lines of progress
PROGRAM = ("-m", "benchmarks.peers.worker")  # of a system's process, for Python
DECIDE = ("version", "weights", "threads")  # what figures depend on, of `Measured.about`
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Clip:
    """A recording that every system hears."""

    corpus: str
    utterance: Utterance
    seconds: float


@dataclass(frozen=True)
class Row:
    """What a system heard in one recording, and what that took."""

    corpus: str
    id: str
    seconds: float
    """Length of the recording."""
    text: str
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of the processor, of all processes and threads of the system."""
    megabytes: float
    """The most memory so far: resident, and the proportional share of processes it started."""
    load: float
    """Mean number of processes of the machine that wanted to run, in the last minute."""


@dataclass(frozen=True)
class Start:
    """What it took from the start of a process until its model was loaded."""

    start: float
    """Seconds."""
    cpu: float
    """Seconds of the processor."""


@dataclass(frozen=True)
class Measured:
    """All that is kept of one system."""

    about: dict[str, Any]
    """Version, hash of the weights, threads, cores, megabytes on disk."""
    starts: list[Start]
    rows: dict[tuple[str, str], Row]
    """By corpus and utterance."""


class Worker:
    """The process of one system; a context manager."""

    def __init__(self, peer: Peer, folder: Path, threads: int, site: Path | None, log: Path):
        self._title, self._log = peer.title, log
        self._awaited = 2  # answers that are to come: loaded, warm
        began = time.perf_counter()
        command = [sys.executable, *PROGRAM, peer.name, str(folder)]
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [*command, str(threads), str(site or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
            )
        try:
            self.answer()
            wall = time.perf_counter() - began
            self.start = Start(wall, cpu_seconds(self.process.pid))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self) -> dict[str, Any]:
        """The next line of the process. Raises UserError when it has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{self._title} stopped; {self._log} has its last words.")
        self._awaited -= 1
        found: dict[str, Any] = json.loads(line)
        return found

    def hear(self, path: Path) -> str:
        """The words of a recording."""
        assert self.process.stdin
        self._awaited += 1
        try:
            print(json.dumps(str(path)), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise UserError(f"{self._title} stopped; {self._log} has its last words.") from None
        text: str = self.answer()["text"]
        return text

    def megabytes(self) -> float:
        """Most memory of the process, and what those that it started hold now."""
        pid = self.process.pid
        others = (own_proportional_mb(member) for member in family(pid)[1:])
        return (status_mb(pid, "VmHWM") or 0.0) + sum(others)

    def close(self) -> None:
        """End the process, at once where it still has something to do."""
        assert self.process.stdin and self.process.stdout
        if self._awaited:
            self.process.terminate()
        with suppress(BrokenPipeError):  # what it did not take
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def kept(file: Path) -> Measured | None:
    """What a file holds of an earlier call; None where there is nothing whole."""
    if not file.exists():
        return None
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # the last line of a call that was killed
            break
    if not lines or "about" not in lines[0]:
        return None
    starts = [Start(**line) for line in lines if "start" in line]
    rows = [Row(**line) for line in lines if "text" in line]
    return Measured(lines[0]["about"], starts, {(row.corpus, row.id): row for row in rows})


def measure(
    peer: Peer, clips: Sequence[Clip], output: Path, threads: int, starts: int, site: Path | None
) -> None:
    """Let one system hear the recordings that its file in `output` lacks.

    starts: how often its start is measured; the fastest counts.

    Other weights, versions or threads than the file tells of start it anew. Raises UserError for a
    system that stops.
    """
    folder = folder_of(peer, site, output)
    file, about = output / f"{peer.name}.jsonl", _about(peer, folder, threads, site)
    before = kept(file)
    if before is None or any(before.about[key] != about[key] for key in DECIDE):
        if before is not None:
            say(f"{peer.title}: weights, versions or threads have changed; all is measured again.")
        _write(file, [{"about": about}])
        before = Measured(about, [], {})
    else:  # without a line that was cut off
        starts_kept = [asdict(start) for start in before.starts]
        rows_kept = [asdict(row) for row in before.rows.values()]
        _write(file, [{"about": about}, *starts_kept, *rows_kept])
    missing = [clip for clip in clips if (clip.corpus, clip.utterance.id) not in before.rows]
    log = output / f"{peer.name}.log"
    with ExitStack() as stack:
        out = stack.enter_context(file.open("a", encoding="utf-8"))
        for last in range(len(before.starts), starts):
            with Worker(peer, folder, threads, site, log) as worker:
                _add(out, asdict(worker.start))
                if last == starts - 1 and missing:
                    _hear_all(worker, peer, missing, out)
                    missing = []
        if missing:
            with Worker(peer, folder, threads, site, log) as worker:
                _hear_all(worker, peer, missing, out)


def _hear_all(worker: Worker, peer: Peer, clips: Sequence[Clip], out: Any) -> None:
    worker.answer()  # it is warm
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        for done, clip in enumerate(clips, 1):
            soundfile.write(path, read_utterance(clip.utterance), SAMPLE_RATE, subtype="PCM_16")
            before, began = cpu_seconds(worker.process.pid), time.perf_counter()
            text = worker.hear(path)
            wall = time.perf_counter() - began
            row = Row(
                clip.corpus,
                clip.utterance.id,
                clip.seconds,
                text,
                wall,
                cpu_seconds(worker.process.pid) - before,
                worker.megabytes(),
                os.getloadavg()[0],
            )
            _add(out, asdict(row))
            if done % TOLD == 0 or done == len(clips):
                say(f"{peer.title}: {done} of {len(clips)} recordings.")


def _about(peer: Peer, folder: Path, threads: int, site: Path | None) -> dict[str, Any]:
    weights = [folder / name for name in peer.weights]
    files = [f for path in weights for f in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {
        "version": _version(peer.distribution, site),
        "weights": hash_of(*(file_hash(file) for file in files if file.is_file())),
        "threads": threads,
        "cores": os.cpu_count(),
        "weights_mb": round(megabytes(weights), 1),
        "packages_mb": round(package_megabytes(peer.distribution, site, [folder])),
    }


def _version(name: str, site: Path | None) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        found = distributions(name=name, path=[str(site)])
        return next((one.version for one in found), "")


def _write(file: Path, lines: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _add(out: Any, line: dict[str, Any]) -> None:
    print(json.dumps(line), file=out, flush=True)
