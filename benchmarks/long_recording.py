"""Memory and time of `w2v2 transcribe` for one recording of hours, made of the shipped ones.

    python -m benchmarks.long_recording [--hours 3] [--lm none]
    python -m benchmarks.long_recording --align [--hours 1]       the same of `w2v2 align`

The command runs as a process of its own, as a user runs it. Its memory and that of its search
processes is read ten times a second (proportional set size: a page that two processes share counts
once), and the highest sum is printed. It should equal that of a short recording, which runs first;
an alignment also holds the emissions of the whole. Seconds of the CPU are those of all processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from benchmarks.usage import proportional_mb

RECORDINGS = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "recordings"
RATE = 16_000  # Hz
SHORT_HOURS = 0.05
LOOK = 0.1  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=3.0, help="length of the recording")
    parser.add_argument(
        "--lm", default="none", help="language model, as `w2v2 transcribe` takes it"
    )
    parser.add_argument("--align", action="store_true", help="measure `w2v2 align`")
    args = parser.parse_args()
    call = ["transcribe", "--lm", args.lm]
    if args.align:
        call = ["align"]
    table = Table(title=f"w2v2 {' '.join(call)} --format srt, one FLAC file")
    for column in ("recording, h", "seconds", "CPU s", "× real time", "peak MB", "subtitles"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for hours in (min(SHORT_HOURS, args.hours), args.hours):
            path = Path(folder) / "long.flac"
            rounds, seconds = write_recording(path, hours * 3600)
            texts = []
            if args.align:
                texts = [Path(folder) / "long.txt"]
                texts[0].write_text(spoken() * rounds)
            wall, used, peak, subtitles = measure([*call, str(path), *map(str, texts)])
            table.add_row(
                f"{seconds / 3600:.2f}",
                f"{wall:.1f}",
                f"{used:.1f}",
                f"{seconds / wall:.0f}",
                f"{peak:.0f}",
                str(subtitles),
            )
    Console(width=100).print(table)


def spoken() -> str:
    """What is said in the shipped recordings, in the order of `write_recording`, line by line."""
    rows = (RECORDINGS / "transcripts.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return "".join(f"{text}\n" for _, _, text in sorted(row.split("\t") for row in rows))


def write_recording(path: Path, seconds: float) -> tuple[int, float]:
    """Write the shipped recordings again and again, half a second of silence after each.

    Returns how often, and the length of the file in seconds.
    """
    silence = np.zeros(RATE // 2, np.int16)
    parts: list[np.ndarray] = []
    for clip in sorted(RECORDINGS.glob("*.flac")):
        parts += [soundfile.read(clip, dtype="int16")[0], silence]
    once = np.concatenate(parts)
    rounds = max(round(seconds * RATE / len(once)), 1)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(rounds):
            file.write(once)
    return rounds, rounds * len(once) / RATE


def measure(call: list[str]) -> tuple[float, float, float, int]:
    """Seconds, those of the CPU, highest memory in MB, and number of subtitles of one run."""
    began, peak, before = time.perf_counter(), 0.0, os.times()
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-m", "w2v2cli", *call, "--format", "srt"]
        with subprocess.Popen(command, stdout=out) as process:
            while process.poll() is None:
                peak = max(peak, proportional_mb(process.pid))
                time.sleep(LOOK)
        if process.returncode:
            sys.exit(f"w2v2 {call[0]} ended with {process.returncode}.")
        wall, after = time.perf_counter() - began, os.times()
        used = after.children_user + after.children_system
        used -= before.children_user + before.children_system
        out.seek(0)
        return wall, used, peak, out.read().count(b"-->")


if __name__ == "__main__":
    main()
