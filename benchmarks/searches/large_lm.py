"""A language model of LibriSpeech's size in the search's cache: made once, opened in a moment.

    python -m benchmarks.searches.large_lm [--lm ARPA] [--counts N...] [--json]

Without --lm it writes an ARPA file with about as many n-grams as LibriSpeech's 4-gram has, 142 M,
of words of four letters (4.1 GB, in $W2V2_HOME/benchmarks, once). It is made by arithmetic, so it
says nothing about recognition. Every context of an n-gram is in it, and no n-gram twice.

Then, each step in a process of its own: the cache is made as `w2v2 lm compile` makes it; opened for
the first time, when its checksum is verified; and opened again, by the compiled search and as
tensors. Prints seconds, processor time, peak resident memory of each, of which the pages mapped
from files can be given up, the bytes on disk, and the time of a look-up. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.usage import status_mb
from storage.home import home
from storage.whole import whole_file

LIBRISPEECH = (200_003, 38_229_161, 49_712_290, 54_318_247)  # about its n-grams of each order
LETTERS = 4  # of a word
SPECIALS = 3  # <unk>, <s>, </s>
STEPS = (7919, 104_729, 611_953, 1_299_709)  # primes: how far the words after a context lie apart
AT_ONCE = 4000  # contexts of one word that are laid out at a time
LOOK_UPS = 1_000_000
SECTIONS = ("made", "first opening", "next opening", "as tensors")


@dataclass(frozen=True)
class Step:
    """What one step took."""

    step: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Peak resident memory, pages mapped from files included."""
    own_mb: float
    """Resident memory at the end that is not mapped from files."""
    look_up_ns: float | None = None


def write_model(path: Path, counts: tuple[int, ...]) -> None:
    """Write an ARPA file with `counts` n-grams of each order, whole or not at all."""
    names = word_names(counts[0] - SPECIALS)
    with whole_file(path) as beside, beside.open("wb") as file:
        lines = "".join(f"ngram {n}={count}\n" for n, count in enumerate(counts, 1))
        file.write(f"\\data\\\n{lines}".encode())
        file.write(b"\n\\1-grams:\n-6.0000\t<unk>\n-99\t<s>\t-0.3000\n-1.2000\t</s>\n")
        rows = np.arange(len(names))[:, None]
        file.write(written(rows, names, len(counts) > 1))
        for n in range(2, len(counts) + 1):
            file.write(f"\n\\{n}-grams:\n".encode())
            write_order(file, n, counts, names)
        file.write(b"\n\\end\\\n")


def write_order(file: BinaryIO, n: int, counts: tuple[int, ...], names: np.ndarray) -> None:
    """Write all n-grams of one order, context by context."""
    for begin in range(0, len(names), AT_ONCE):
        words = np.arange(begin, min(len(names), begin + AT_ONCE))[:, None]
        first = begin
        for order in range(2, n + 1):
            contexts = len(names) if order == 2 else counts[order - 2]
            words, first = continued(words, first, contexts, counts[order - 1], STEPS[order - 1])
        file.write(written(words % len(names), names, n < len(counts)))


def continued(
    contexts: np.ndarray, first: int, of: int, count: int, step: int
) -> tuple[np.ndarray, int]:
    """Contexts `first`, `first` + 1, ... of `of` -> their share of `count` n-grams, one order more.

    Returns (N, n) word numbers, of which the last is to be taken modulo the number of words, and
    the place of the first among all of its order.
    """
    ends = np.arange(first, first + len(contexts) + 1) * count // of
    times = np.diff(ends)
    owner = np.repeat(np.arange(len(contexts)), times)
    rank = np.arange(ends[-1] - ends[0]) - (ends[:-1] - ends[0])[owner]
    word = (owner + first) * 31 + rank * step
    return np.column_stack([contexts[owner], word]), int(ends[0])


def word_names(count: int) -> np.ndarray:
    """(count, LETTERS) uint8, a word for each number."""
    digits = np.arange(count)[:, None] // 26 ** np.arange(LETTERS)[::-1] % 26
    return (digits + ord("A")).astype(np.uint8)


def written(words: np.ndarray, names: np.ndarray, backoffs: bool) -> bytes:
    """(N, n) words as lines of ARPA of one width, with figures made of the words."""
    mixed = words.sum(axis=1) * 7919 + words[:, -1] * 31
    score = 10_000 + mixed % 60_000  # -1.0 to -7.0
    parts = [text("-"), figures(score), text("\t")]
    for column in words.T:
        parts += [names[column], text(" ")]
    parts[-1] = text("\t")
    if backoffs:
        parts += [text("-"), figures(mixed % 8000 + 1)]
    parts[-1 if not backoffs else len(parts) :] = [text("\n")]
    wide = [np.broadcast_to(part, (len(words), part.shape[1])) for part in parts]
    return np.concatenate(wide, axis=1).tobytes()


def text(letters: str) -> np.ndarray:
    """Letters as a row."""
    return np.frombuffer(letters.encode(), np.uint8)[None]


def figures(numbers: np.ndarray) -> np.ndarray:
    """(N,) numbers below 100 000 -> (N, 6) letters of numbers with four decimals."""
    digits = (numbers[:, None] // 10 ** np.arange(5)[::-1] % 10 + ord("0")).astype(np.uint8)
    return np.concatenate([digits[:, :1], np.full((len(digits), 1), ord("."), np.uint8),
                           digits[:, 1:]], axis=1)  # fmt: skip


def run_step(step: str, lm: Path, cache: Path) -> Step:
    """Take one step, in this process."""
    from lm.ngram.arpa import read_unigrams
    from lm.ngram.automaton import automaton_file, open_automaton

    words = [] if step == "made" else read_unigrams(lm)[:LOOK_UPS]
    if step == "as tensors":
        import torch  # noqa: F401  so that its import is not measured

        from lm.ngram.arrays import kept_automaton
    begin, cpu, look_up = time.perf_counter(), time.process_time(), None
    if step == "made":
        automaton_file(lm, cache)
    elif step == "as tensors":
        kept_automaton(lm, cache)
    else:
        model, _ = open_automaton(lm, cache, words)
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    if step == "next opening":
        draw = np.random.default_rng(0).integers(0, len(words), (4, LOOK_UPS // 4))
        states = model.start(draw.shape[1])
        begin = time.perf_counter()
        for row in draw:
            _, states = model.score(states, row.tolist())
        look_up = (time.perf_counter() - begin) / LOOK_UPS * 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    own = status_mb(os.getpid(), "RssAnon") or float("nan")
    return Step(step, seconds, used, peak, own, look_up)


def steps(lm: Path, cache: Path) -> Iterator[Step]:
    """Take every step in a process of its own."""
    for step in SECTIONS:
        call = [sys.executable, "-m", "benchmarks.searches.large_lm", "--lm", str(lm)]
        call += ["--cache", str(cache), "--step", step]
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE)
        yield Step(**json.loads(done.stdout))


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lm", type=Path, help="an ARPA file; default: one that is made")
    parser.add_argument("--counts", type=int, nargs="+", default=list(LIBRISPEECH))
    parser.add_argument("--cache", type=Path, help="folder of the cache; default: a new one")
    parser.add_argument("--step", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each step")
    return parser.parse_args()


def main() -> None:
    """Measure, and print the table."""
    args = arguments()
    if args.step:
        print(json.dumps(asdict(run_step(args.step, args.lm, args.cache))))
        return
    folder = home() / "benchmarks"
    lm = args.lm or folder / "made-4gram.arpa"
    if not lm.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_model(lm, tuple(args.counts))
    cache = args.cache or folder / f"large-lm-{os.getpid()}"
    shown = Table(title=f"{lm}, {lm.stat().st_size / 1e6:.0f} MB")
    shown.add_column("")
    for heading in ("s", "CPU s", "peak MB", "own MB", "look-up ns"):
        shown.add_column(heading, justify="right")
    for one in steps(lm, cache):
        if args.json:
            print(json.dumps(asdict(one)), flush=True)
        look_up = "" if one.look_up_ns is None else f"{one.look_up_ns:.0f}"
        numbers = (f"{one.seconds:.2f}", f"{one.cpu_seconds:.2f}", f"{one.peak_mb:.0f}")
        shown.add_row(one.step, *numbers, f"{one.own_mb:.0f}", look_up)
    if not args.json:
        Console(width=100).print(shown)
        for path in cache.glob("*.automaton"):
            print(f"{path.stat().st_size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()
