"""Run the program on what should break it, and count how that ends.

    python -m benchmarks.torture [--only KIND ...] [--count-scale 0.01] [--out DIR]

Every case ends well, in a sentence, or in a fault: a traceback, a crash, a hang (over 10 s for a
damaged input), or an output that changed without a word. A row for each case is added to
`rows.jsonl` in --out as soon as it is known; cases that are there already are not run again, so
that an interrupted call goes on. After a change of the program name another folder. Writes
`table.md` there and prints it. Ends with exit code 1 where there was a fault or something was left
over.

    python -m benchmarks.torture --only KIND --case NUMBER --out DIR

runs one case by itself, shows its traceback, and leaves its input in --out.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import ENDS, FAULTS, Kind
from benchmarks.torture.registry import kinds
from benchmarks.torture.supervision import rows_of

HEADS = (
    "kind",
    "cases",
    "answered well",
    "told in a sentence",
    "tracebacks",
    "crashes",
    "hangs",
    "silent changes",
    "left over",
)
EVERY = 10  # seconds between lines of progress
Row = dict[str, Any]


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The rows counted by kind, in Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    for name in names:
        own = [row for row in rows if row["kind"] == name]
        if own:
            ends = Counter(row["end"] for row in own)
            left = sum(bool(row["left"]) for row in own)
            counts = [len(own), *(ends[end] for end in ENDS), left]
            lines.append(f"| {name} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) + "\n"


def is_fault(row: Row) -> bool:
    """Whether a case ended as none may."""
    return row["end"] in FAULTS or bool(row["left"])


def read_rows(path: Path) -> list[Row]:
    """The rows that are whole; a killed call may have left half of one."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("}\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def run_kind(kind: Kind, numbers: Sequence[int], out: Path) -> None:
    """Run cases of a kind and add their rows to the file."""
    told, faults = time.monotonic(), 0
    with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
        for done, row in enumerate(rows_of(kind, numbers, out), 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            faults += is_fault(row)
            if time.monotonic() - told > EVERY or done == len(numbers):
                told = time.monotonic()
                say(f"{kind.name}: {done} of {len(numbers)}, {faults} faults")


def run_alone(kind: Kind, number: int, out: Path) -> None:
    """Run one case in this process and leave its input."""
    place = out / "case"
    place.mkdir(parents=True, exist_ok=True)
    # A forked job would remove a TemporaryDirectory at its end.
    inputs = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        print(kind.open(inputs)(number, place), *sorted(place.iterdir()), sep="\n")
    finally:
        shutil.rmtree(inputs)


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def options(known: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="KIND", default=known, choices=known)
    parser.add_argument("--count-scale", type=float, default=1.0, help="share of the cases")
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    parser.add_argument("--case", type=int, metavar="NUMBER", help="one case by itself")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for and print the table."""
    every = kinds()
    args = options([kind.name for kind in every])
    chosen = [kind for kind in every if kind.name in args.only]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.case is not None:
        for kind in chosen:
            run_alone(kind, args.case, args.out)
        return
    done = {(row["kind"], row["case"]) for row in read_rows(args.out / "rows.jsonl")}
    for kind in chosen:
        count = math.ceil(kind.count * args.count_scale)
        numbers = [number for number in range(count) if (kind.name, number) not in done]
        if numbers:
            run_kind(kind, numbers, args.out)
    rows = read_rows(args.out / "rows.jsonl")
    written = table(rows, [kind.name for kind in every])
    (args.out / "table.md").write_text(written, encoding="utf-8")
    print(written, end="", flush=True)
    faults = [row for row in rows if is_fault(row)]
    for row in faults[:20]:
        say(f"{row['kind']} {row['case']}: {row['end']}: {row['detail']} {row['left'] or ''}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
