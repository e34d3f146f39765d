"""Memory and time of `w2v2 transcribe` for one recording of hours, made of the shipped ones.

    python -m benchmarks.long_recording [--hours 3] [--lm none]

The command runs as a process of its own, as a user runs it. Memory is the largest sum over the command and its search processes
that was seen, ten times a second (proportional set size: a page that two processes share counts once); it should be that of a
short recording, which runs first.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

RECORDINGS = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "recordings"
RATE = 16_000  # Hz
SHORT_HOURS = 0.05
LOOK = 0.1  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--lm", default="none")
    args = parser.parse_args()
    table = Table(title=f"w2v2 transcribe --format srt --lm {args.lm}, one FLAC file")
    for column in ("recording, h", "seconds", "× real time", "peak memory, MB", "subtitles"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for hours in (min(SHORT_HOURS, args.hours), args.hours):
            path = Path(folder) / "long.flac"
            seconds = write_recording(path, hours * 3600)
            wall, peak, subtitles = measure(path, args.lm)
            table.add_row(
                f"{seconds / 3600:.2f}",
                f"{wall:.1f}",
                f"{seconds / wall:.0f}",
                f"{peak / 1e6:.0f}",
                str(subtitles),
            )
    Console(width=100).print(table)


def write_recording(path: Path, seconds: float) -> float:
    """The shipped recordings over and over, half a second between them; returns the length that came of it."""
    clips = [np.concatenate([soundfile.read(clip, dtype="int16")[0], np.zeros(RATE // 2, np.int16)])
             for clip in sorted(RECORDINGS.glob("*.flac"))]  # fmt: skip
    once = np.concatenate(clips)
    rounds = max(round(seconds * RATE / len(once)), 1)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(rounds):
            file.write(once)
    return rounds * len(once) / RATE


def measure(path: Path, lm: str) -> tuple[float, int, int]:
    """Seconds, bytes of memory at the most, and subtitles."""
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        command = [
            sys.executable,
            "-m",
            "w2v2cli",
            "transcribe",
            str(path),
            "--format",
            "srt",
            "--lm",
            lm,
        ]
        with subprocess.Popen(command, stdout=out) as process:
            while process.poll() is None:
                peak = max(peak, sum(memory(pid) for pid in family(process.pid)))
                time.sleep(LOOK)
        if process.returncode:
            sys.exit(f"w2v2 transcribe ended with {process.returncode}.")
        wall = time.perf_counter() - began
        out.seek(0)
        return wall, peak, out.read().count(b"-->")


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def memory(pid: int) -> int:
    """Proportional set size in bytes; 0 for a process that has just gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
