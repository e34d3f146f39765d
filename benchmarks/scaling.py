"""Scaling of pretraining from one rank to several on this machine.

    python -m benchmarks.scaling [CORPUS] [--ranks 1 2 --threads 1 --updates 30 --model demo]

Runs `w2v2 pretrain` alone and under torchrun. Every rank has a micro-batch of the same size, so n
ranks do n times the work in an update; the efficiency is the time of an update on one rank, divided
by that on n ranks. On a GPU machine pass --threads 0. Also prints how much the ranks exchange in an
update.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

CORPUS = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
WARM_UP = 10  # updates that are not counted


def seconds_per_update(args: argparse.Namespace, ranks: int, folder: Path) -> float:
    """Run pretraining, and return the median time of the updates after the first ten."""
    settings = f"model={args.model} save_every=100000 validate_every=100000 shortest_seconds=0.5"
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "w2v2cli", "pretrain", f"{args.corpus}@20", "-o", str(folder)]
    command += ["--valid", str(args.corpus), "--recipe", "small", "--accumulate", "1"]
    command += ["--updates", str(args.updates), "--batch-seconds", str(args.batch_seconds)]
    command += ["--precision", args.precision]
    command += [f"--set={setting}" for setting in settings.split()]
    environment = dict(os.environ)
    if args.threads:
        environment["OMP_NUM_THREADS"] = str(args.threads)
    subprocess.run(command, check=True, env=environment, capture_output=True)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    ends = [row["time"] for row in rows]
    return statistics.median(
        after - before for before, after in zip(ends[WARM_UP:], ends[WARM_UP + 1 :], strict=False)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="?", default=CORPUS)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of a rank; 0 for torch's own"
    )
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--batch-seconds", type=float, default=20.0)
    parser.add_argument("--precision", default="bf16")
    args = parser.parse_args()
    from models.config import PRESETS
    from models.pretraining import Wav2Vec2ForPretraining

    parameters = sum(p.numel() for p in Wav2Vec2ForPretraining(PRESETS[args.model]()).parameters())
    table = Table(
        title=f"{args.model}, {parameters / 1e6:.1f} M parameters, {args.batch_seconds:g} s a rank"
    )
    for column in ("ranks", "seconds an update", "audio s/s", "efficiency", "MB sent by a rank"):
        table.add_column(column, justify="right")
    first = None
    for ranks in args.ranks:
        with tempfile.TemporaryDirectory() as folder:
            seconds = seconds_per_update(args, ranks, Path(folder))
        first = first or seconds
        # A ring of float32 gradients: reduce-scatter, then all-gather.
        sent = 2 * (ranks - 1) / ranks * parameters * 4 / 1e6
        table.add_row(
            str(ranks),
            f"{seconds:.3f}",
            f"{args.batch_seconds * ranks / seconds:.0f}",
            f"{first / seconds:.0%}",
            f"{sent:.0f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
