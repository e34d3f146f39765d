"""What tuning by races and predictions saves: the same trials beside full searches of every one, in one run.

    python -m benchmarks.tuning [--split dev-other | --data CORPUS] [--trials 128] [--beam 500] [--model demo] [--lm 4gram] [--json]

Prints, for both ways: utterances searched, CPU seconds of this process and of the search processes, wall seconds, and the
optimum; then the share of the cost and whether the cheap optimum, as its full search has it, lies within the bootstrap
interval of the other. Asserts nothing. Emissions are computed once, before.
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

from lm.decoding import BeamOptions
from lm.weights.proposals import Bounds
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.data.locations import resolve_lm, resolve_model
from w2v2cli.recognition import recognizer
from w2v2cli.recognition.recognizer import RecognitionOptions
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.tuning import session as tuning_session
from w2v2cli.recognition.tuning.trials import TuningOptions


@dataclass(frozen=True)
class Way:
    """One way to tune."""

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
    """Knows what its processes have used, to the last tenth of a second before they end."""

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
                try:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                self._used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    name: str, settings: RecognitionOptions, part: CorpusSplit, options: TuningOptions
) -> Way:
    """Tune from nothing, in a folder that goes away."""
    MeasuredPool.seconds = 0.0
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = tuning_session.tune_corpus(settings, part, options, folder=Path(folder)).outcome
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    weights = outcome.weights
    return Way(
        name, outcome.cost, own + MeasuredPool.seconds, wall, weights.lm_weight, weights.word_score,
        outcome.best.rate, outcome.interval, os.getloadavg()[0],
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", default=None)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--beam", type=int, default=500)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", default="4gram")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    model = resolve_model(given.model)
    settings = RecognitionOptions(
        model, resolve_lm(given.lm, model), beam=BeamOptions(width=given.beam)
    )
    [part] = find_splits(given.split or (None if given.data else "dev-other"), given.data)
    recognizer.SearchPool = MeasuredPool  # type: ignore[misc]
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # emissions, imports and disk caches: neither way pays for them
        tuning_session.tune_corpus(settings, part, TuningOptions(1), folder=Path(folder))
    cheap, full = (
        measure(name, settings, part, TuningOptions(given.trials, Bounds(), given.seed, exact))
        for name, exact in (("races and predictions", False), ("full searches", True))
    )
    share = {
        "utterances": cheap.utterances_searched / full.utterances_searched,
        "cpu": cheap.cpu_seconds / full.cpu_seconds,
    }
    within = full.interval[0] <= cheap.wer <= full.interval[1]
    if given.json:
        print(
            json.dumps(
                {"cheap": asdict(cheap), "full": asdict(full), "share": share, "within": within},
                indent=2,
            )
        )
        return
    table = Table(title=f"{part.name}, {given.trials} trials, beam {given.beam}")
    for column in (
        "",
        "utterances searched",
        "CPU s",
        "wall s",
        "LM weight",
        "word score",
        "WER %",
        "95%",
    ):
        table.add_column(column)
    for way in (cheap, full):
        table.add_row(
            way.name, str(way.utterances_searched), f"{way.cpu_seconds:.1f}", f"{way.wall_seconds:.1f}",
            f"{way.lm_weight:g}", f"{way.word_score:g}", f"{way.wer * 100:.2f}",
            f"{way.interval[0] * 100:.1f} to {way.interval[1] * 100:.1f}",
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(
        f"Share of the searches {share['utterances']:.1%}, of the CPU seconds {share['cpu']:.1%}; the optimum lies "
        f"{'within' if within else 'OUTSIDE'} the interval of that by full searches. Load {full.load:.1f}."
    )


if __name__ == "__main__":
    main()
