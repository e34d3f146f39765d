"""Tuning by races and predictions beside full searches of the same trials, in one run.

    python -m benchmarks.tuning [--split dev-other | --data CORPUS] [--trials 128] [--beam 500]
        [--model demo] [--lm 4gram] [--json]

Prints for both: utterances searched, CPU seconds of this process and of the search processes, wall
seconds, and the optimum. Then the share of the cost, and whether the WER of the cheap optimum, by
its own full search, lies within the bootstrap interval of the other optimum. Asserts nothing.
Emissions are computed once, before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.usage import own_cpu_seconds
from lm.decoding import BeamOptions
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.data.locations import resolve_lm, resolve_model
from w2v2cli.recognition import recognizer
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.tuning import session as tuning_session
from w2v2cli.recognition.tuning.options import TuningOptions


@dataclass(frozen=True)
class Way:
    """What one way to tune costs, and what it finds."""

    name: str
    utterances_searched: int
    cpu_seconds: float
    wall_seconds: float
    lm_weight: float
    word_score: float
    wer: float
    interval: tuple[float, float]
    load: float
    """Load average of the machine at the end."""


class MeasuredPool(SearchPool):
    """A pool that measures the processor time of its processes, ten times a second."""

    seconds = 0.0

    def __enter__(self) -> MeasuredPool:
        super().__enter__()
        self._end = threading.Event()
        self._used: dict[int, float] = {}
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._end.set()
        self._watch.join()
        super().__exit__(*details)
        MeasuredPool.seconds = sum(self._used.values())

    def _look(self) -> None:
        while not self._end.wait(0.1):
            for pid in [self._server.pid, *list(self._pids)]:
                used = own_cpu_seconds(pid)
                if used is not None:
                    self._used[pid] = used


def measure(
    name: str, settings: RecognitionOptions, part: CorpusSplit, options: TuningOptions
) -> Way:
    """Tune from the start, in a temporary folder."""
    MeasuredPool.seconds = 0.0
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = tuning_session.tune_corpus(
            settings, part, options, study=Path(folder), keep=False
        ).outcome
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    weights = outcome.weights
    return Way(
        name,
        outcome.cost,
        own + MeasuredPool.seconds,
        wall,
        weights.lm_weight,
        weights.word_score,
        outcome.best.rate,
        outcome.interval,
        os.getloadavg()[0],
    )


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", help="default: dev-other, or all of --data")
    parser.add_argument("--data", type=Path, help="a corpus; default: the recordings that ship")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--beam", type=int, default=500)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", default="4gram")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = arguments()
    model = resolve_model(given.model)
    settings = RecognitionOptions(
        model, resolve_lm(given.lm, model), beam=BeamOptions(width=given.beam)
    )
    [part] = find_splits(given.split or (None if given.data else "dev-other"), given.data)
    recognizer.SearchPool = MeasuredPool  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        # Emissions, imports and disk caches: neither way pays for them.
        tuning_session.tune_corpus(settings, part, TuningOptions(1), study=Path(folder), keep=False)
    cheap, full = (
        measure(name, settings, part, TuningOptions(given.trials, seed=given.seed, exact=exact))
        for name, exact in (("races and predictions", False), ("full searches", True))
    )
    share = {
        "utterances": cheap.utterances_searched / full.utterances_searched,
        "cpu": cheap.cpu_seconds / full.cpu_seconds,
    }
    within = full.interval[0] <= cheap.wer <= full.interval[1]
    if given.json:
        report = {"cheap": asdict(cheap), "full": asdict(full), "share": share, "within": within}
        print(json.dumps(report, indent=2))
        return
    console = Console(width=120)
    console.print(table(f"{part.name}, {given.trials} trials, beam {given.beam}", (cheap, full)))
    console.print(
        f"Share of the searches {share['utterances']:.1%}, of the CPU seconds {share['cpu']:.1%}. "
        f"The optimum lies {'within' if within else 'OUTSIDE'} the interval of that by full "
        f"searches. Load {full.load:.1f}."
    )


def table(title: str, ways: tuple[Way, ...]) -> Table:
    """Lay the ways out as a table."""
    shown = Table(title=title)
    for column in ("", "utterances searched", "CPU s", "wall s"):
        shown.add_column(column)
    for column in ("LM weight", "word score", "WER %", "95%"):
        shown.add_column(column)
    for way in ways:
        shown.add_row(
            way.name,
            str(way.utterances_searched),
            f"{way.cpu_seconds:.1f}",
            f"{way.wall_seconds:.1f}",
            f"{way.lm_weight:g}",
            f"{way.word_score:g}",
            f"{way.wer * 100:.2f}",
            f"{way.interval[0] * 100:.1f} to {way.interval[1] * 100:.1f}",
        )
    return shown


if __name__ == "__main__":
    main()
