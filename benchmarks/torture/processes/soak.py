"""Much at once: thousands of recordings in a call, an hour in a recording, two calls in one home.

Memory and descriptors are watched while a call runs; they may not grow once it is under way.
TORTURE_SHARE in the environment makes the calls smaller: 0.3 is three tenths of the recordings.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.torture.cases import Kind, Outcome, Run, draw_of
from benchmarks.torture.processes.jobs import Job, leavings, start
from benchmarks.torture.processes.kills import LINES, files_of
from benchmarks.torture.processes.material import RATE, make

SHORT = 0.15  # seconds of a recording
CALL, FOLDER, HOUR = 10_000, 20_000, 3600
SECONDS = 5400.0  # of a case on a busy machine
UNDER_WAY = 0.3  # share of a call after which nothing grows
GROWTH = 1.1  # by so much memory may differ
SLACK = 20e6  # bytes, and by so much
DESCRIPTORS = 5  # more or fewer
TOGETHER = 10  # pairs of calls in one home
Watched = list[tuple[float, int]]


@dataclass
class Watch:
    """Memory and descriptors of a job, over its time."""

    memory: list[float] = field(default_factory=list)
    """Resident bytes."""
    descriptors: list[int] = field(default_factory=list)

    def look(self, job: Job) -> bool:
        """Take a sample; never ends the wait."""
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path(f"/proc/{job.pid}/statm").read_text().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
            self.descriptors.append(len(os.listdir(f"/proc/{job.pid}/fd")))
        time.sleep(0.2)
        return False

    def grown(self) -> str:
        """What grew after the beginning; empty where nothing did."""
        # The last samples are of a job that ends.
        memory = self.memory[int(UNDER_WAY * len(self.memory)) : -3] or [0.0]
        third = max(len(memory) // 3, 1)
        before, after = max(memory[:third]), max(memory[-third:])
        if after > GROWTH * before + SLACK:
            return f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB"
        taken = self.descriptors[int(UNDER_WAY * len(self.descriptors)) : -3] or [0]
        if max(taken[-third:]) > max(taken[:third]) + DESCRIPTORS:
            return f"descriptors grew from {max(taken[:third])} to {max(taken[-third:])}"
        return ""

    def described(self) -> str:
        """The most of both."""
        most = max(self.memory, default=0) / 1e6
        return f"at most {most:.0f} MB and {max(self.descriptors, default=0)} descriptors"


def recordings(folder: Path, count: int) -> Path:
    """A folder of short recordings, which are one file by many names."""
    folder.mkdir()
    samples = np.random.default_rng(0).standard_normal(int(SHORT * RATE)) * 0.1
    soundfile.write(folder / "r00000.wav", samples, RATE)
    for number in range(1, count):
        os.link(folder / "r00000.wav", folder / f"r{number:05}.wav")
    return folder


def watched(line: list[str], place: Path, lines: Callable[[], int], wanted: int) -> Outcome:
    """Run a call to its end; `lines` counts its answers, which have to be as many as wanted."""
    watch = Watch()
    job = start(line, place)
    job.wait(watch.look)
    left = leavings(job, set())
    if job.code:
        return Outcome("traceback", f"exit code {job.code}: {job.errors[-300:]}", left)
    if (found := lines()) != wanted:
        return Outcome("changed", f"{found} answers instead of {wanted}", left)
    if grown := watch.grown():
        return Outcome("changed", f"{grown}; {watch.described()}", left)
    return Outcome("well", f"{wanted} answers, {watch.described()}", left)


def answers(path: Path) -> int:
    """Different recordings among lines of JSON."""
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    names = {row.get("recording") or row["audio_filepath"] for row in rows}
    return len(names) if len(names) == len(rows) else -len(rows)


def many(folder: Path, place: Path, count: int) -> Outcome:
    """Transcribe many recordings in one call."""
    heard = recordings(place / "heard", count)
    line = ["transcribe", str(heard), "--model", str(folder / "model.safetensors")]
    line += ["--format", "jsonl", "--device", "cpu"]
    return watched(line, place, lambda: answers(place / "stdout"), count)


def mirrored(folder: Path, place: Path, count: int) -> Outcome:
    """List a folder of recordings, in two processes, and transcribe it into as many files."""
    heard = recordings(place / "heard", count)
    line = ["data", "scan", str(heard), "-o", "scan.jsonl", "--no-hash", "--jobs", "2"]
    listed = watched(line, place, lambda: answers(place / "scan.jsonl"), count)
    if listed.end != "well" or listed.left:
        return listed
    line = ["transcribe", str(heard), "--model", str(folder / "model.safetensors")]
    line += ["--output-dir", "out", "--format", "json", "--device", "cpu"]
    return watched(line, place, lambda: written(place / "out"), count)


def written(folder: Path) -> int:
    """Files of a folder that hold a transcript."""
    return sum("text" in json.loads(path.read_text()) for path in folder.glob("r*.json"))


def hour(folder: Path, place: Path, seconds: int) -> Outcome:
    """Transcribe a long recording."""
    draw = np.random.default_rng(0)
    minute = (draw.standard_normal(60 * RATE) * 0.1).astype(np.float32)
    with soundfile.SoundFile(place / "long.wav", "w", RATE, 1, "PCM_16") as file:
        for _ in range(seconds // 60):
            file.write(minute)
    line = ["transcribe", "long.wav", "--model", str(folder / "model.safetensors")]
    line += ["--format", "jsonl", "--device", "cpu"]
    return watched(line, place, lambda: answers(place / "stdout"), 1)


def together(number: int, folder: Path, place: Path) -> Outcome:
    """Make a call twice at once in a home that is empty, and compare with a call by itself."""
    name = ("transcribe", "eval")[number % 2]
    line = LINES[name].format(inputs=folder, workers=0).split()
    found: list[dict[str, object]] = []
    jobs: list[Job] = []
    shared = {"W2V2_HOME": str(place / "shared")}
    for who, variables in (("alone", {}), ("one", shared), ("other", shared)):
        own = place / who
        (own / "out").mkdir(parents=True)
        jobs.append(start(line, own, variables))
        if who == "alone":
            jobs[0].wait()
        elif who == "one":
            time.sleep(draw_of("together", number).uniform(0, 0.5))
    left: tuple[str, ...] = ()
    for job in jobs:
        job.wait()
        left += leavings(job, set())
        if job.code:
            return Outcome("traceback", f"exit code {job.code}: {job.errors[-300:]}", left)
        out = {k: v for k, v in files_of(job.place).items() if k.startswith("out/")}
        found.append({name: stripped(content, job.place) for name, content in out.items()})
    if not found[0] or found[0] != found[1] or found[0] != found[2]:
        return Outcome("changed", "two calls at once differ from one", left)
    return Outcome("well", name, left)


def stripped(content: object, place: Path) -> str:
    """A content without the name of its folder."""
    return repr(content).replace(str(place), "")


def open_soak(case: Callable[[Path, Path, int], Outcome], amount: int, folder: Path) -> Run:
    """A model."""
    make(folder)
    share = float(os.environ.get("TORTURE_SHARE", "1"))
    return lambda number, place: case(folder, place, max(int(amount * share), 60))


def open_together(folder: Path) -> Run:
    """What the calls read."""
    make(folder)
    return lambda number, place: together(number, folder, place)


def _soak(name: str, case: Callable[[Path, Path, int], Outcome], amount: int) -> Kind:
    return Kind(name, 1, partial(open_soak, case, amount), seconds=SECONDS, room=None)


KINDS = (
    _soak("10 000 recordings in a call", many, CALL),
    _soak("20 000 files in a folder", mirrored, FOLDER),
    _soak("an hour in a recording", hour, HOUR),
    Kind("two calls in one home", TOGETHER, open_together, seconds=SECONDS, room=None),
)
