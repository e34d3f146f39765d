"""`w2v2 lm build` on a text many times over, beside lmplz, and a plan for a larger text.

    python -m benchmarks.lm_build BOOKS... [--copies 8] [--memory 2GB 250MB] [--order 4]
        [--lmplz build/bin/lmplz] [--words 800e6] [--folder DIR]

BOOKS are texts or folders; they are spelled once, one sentence a line, as `w2v2 lm build` spells
them. Quarters of them and the whole are estimated, then the copies of the whole in one shuffled
file, with each --memory; lmplz with the first one. Processor time counts all threads; memory is the
most that was resident.

The plan: time = a · words + b · n-grams, with a and b by least squares over the runs with the last
--memory, which should be so little that they sort on disk. How many n-grams of each order a text of
so many words has is extrapolated as a power of its words, through the half and the whole.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.usage import own_cpu_seconds, status_mb
from lm.ngram.arpa import read_counts
from lm.text.reading import Reading, ReadReport, chosen_normalizer
from lm.text.sentences import read_sentences, sample_lines, text_files
from w2v2cli.commands.lm.sizes import bytes_of

PARTS = (0.25, 0.5, 1.0)
ROW = 8  # bytes of an n-gram on disk beside 4 for each of its words


@dataclass(frozen=True)
class Run:
    """One estimation."""

    words: int
    sizes: list[int]
    seconds: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("books", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--memory", nargs="+", default=["2GB", "250MB"])
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--lmplz", type=Path)
    parser.add_argument("--words", type=float, default=800e6)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    for memory in args.memory:
        bytes_of(memory, "--memory")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measure(args, Path(name))


def measure(args: argparse.Namespace, folder: Path) -> None:
    lines = spelled(args.books)
    table = Table("Text", "Program", "Memory", "M words", "M n-grams", "CPU s", "words a s", "MB")
    parts = [(f"{part:g}", lines[: round(part * len(lines))], 1) for part in PARTS]
    runs: dict[str, list[Run]] = {memory: [] for memory in args.memory}
    for label, part, copies in [*parts, (f"{args.copies} copies", lines, args.copies)]:
        text = folder / "text.txt"
        write(text, part, copies)
        for memory in args.memory:
            runs[memory].append(build(text, memory, args.order, folder))
            add(table, label, "lm build", memory, runs[memory][-1])
        first = args.memory[0]
        if args.lmplz and len(part) == len(lines):
            run = lmplz(args.lmplz, text, first, args.order, folder, runs[first][-1])
            add(table, label, "lmplz", first, run)
    console = Console(width=120)
    console.print(table)
    console.print(plan(runs[args.memory[-1]], args.words))


def spelled(books: Sequence[Path]) -> list[str]:
    files = list(text_files(books))
    reading = Reading(chosen_normalizer(sample_lines(files)), None)
    report = ReadReport(reading)
    began = time.process_time()
    lines = [" ".join(words) for file in files for words in read_sentences(file, reading, report)]
    speed = report.words / (time.process_time() - began)
    print(f"{report.words} words of running text, spelled at {speed:.0f} a CPU second", flush=True)
    return lines


def write(path: Path, lines: Sequence[str], copies: int) -> None:
    order = list(range(len(lines))) * copies
    if copies > 1:
        random.Random(0).shuffle(order)
    with path.open("w") as file:
        file.writelines(f"{lines[at]}\n" for at in order)


def build(text: Path, memory: str, order: int, folder: Path) -> Run:
    arpa = folder / "ours.arpa"
    command = [sys.executable, "-P", "-m", "w2v2cli", "lm", "build", str(text), "-o", str(arpa)]
    command += ["--order", str(order), "--memory", memory, "--tmp", str(folder), "--no-normalize"]
    seconds, most = watched(command, None, None)
    return Run(words_in(text), read_counts(arpa), seconds, most)


def lmplz(program: Path, text: Path, memory: str, order: int, folder: Path, ours: Run) -> Run:
    arpa = folder / "theirs.arpa"
    command = [str(program), "-o", str(order), "-S", memory.removesuffix("B"), "-T", f"{folder}/"]
    seconds, most = watched([*command, "--discount_fallback"], text, arpa)
    sizes = read_counts(arpa)
    assert sizes == ours.sizes, (sizes, ours.sizes)
    return Run(ours.words, sizes, seconds, most)


def watched(command: Sequence[str], stdin: Path | None, stdout: Path | None) -> tuple[float, float]:
    """Processor seconds of a command and the most memory it had, in 10^6 bytes."""
    with (
        open(stdin or "/dev/null", "rb") as source,
        open(stdout or "/dev/null", "wb") as target,
        tempfile.TemporaryFile() as errors,
    ):
        process = subprocess.Popen(command, stdin=source, stdout=target, stderr=errors)
        seconds = memory = 0.0
        while process.poll() is None:
            seconds = own_cpu_seconds(process.pid) or seconds
            memory = status_mb(process.pid, "VmHWM") or memory
            time.sleep(0.1)
        errors.seek(0)
        print(errors.read().decode(errors="replace")[-600:], flush=True)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}.")
    return seconds, memory


def words_in(text: Path) -> int:
    with text.open("rb") as file:
        return sum(len(line.split()) for line in file)


def add(table: Table, label: str, program: str, memory: str, run: Run) -> None:
    speed = f"{run.words / run.seconds:.0f}"
    figures = f"{run.words / 1e6:.1f}", f"{sum(run.sizes) / 1e6:.1f}", f"{run.seconds:.1f}", speed
    table.add_row(label, program, memory, *figures, f"{run.memory:.0f}")


def plan(runs: Sequence[Run], words: float) -> str:
    per = np.array([[run.words, sum(run.sizes)] for run in runs], float)
    (a, b), *_ = np.linalg.lstsq(per, np.array([run.seconds for run in runs]), rcond=None)
    half, whole = runs[len(PARTS) - 2 : len(PARTS)]
    sizes = []
    for before, after in zip(half.sizes, whole.sizes, strict=True):
        power = math.log(after / before) / math.log(whole.words / half.words)
        sizes.append(after * (words / whole.words) ** power)
    # Runs of the highest order, which repeat n-grams, then those of every order: see estimation.h.
    order = len(sizes)
    rows = sum((4 * n + ROW) * size for n, size in enumerate(sizes, 1) if n > 1)
    disk = rows + (4 * order + ROW) * min(words, 2 * sizes[-1])
    listed = ", ".join(f"{size / 1e6:.0f} M {n}-grams" for n, size in enumerate(sizes, 1))
    return (
        f"{words / 1e6:.0f} M words: {listed}; {(a * words + b * sum(sizes)) / 3600:.1f} CPU hours "
        f"({a * 1e6:.2f} s a million words and {b * 1e6:.2f} s a million n-grams), "
        f"about {disk / 1e9:.0f} GB of temporary files."
    )


if __name__ == "__main__":
    main()
