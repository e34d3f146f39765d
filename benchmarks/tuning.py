"""Tuning by races and predictions beside full searches of the same trials, in one run.

    python -m benchmarks.tuning [--split dev-other | --data CORPUS] [--trials 128] [--beam 500]
        [--model demo] [--lm 4gram] [--json]
    python -m benchmarks.tuning --utterances 2864 [--trials 128] [--beam 500] [--json]

Prints for both: utterances searched, CPU seconds of this process and of the search processes, wall
seconds, and the optimum. Then the share of the cost, and whether the WER of the cheap optimum, by
its own full search, lies within the bootstrap interval of the other optimum. Asserts nothing.
Emissions are computed once, before.

With --utterances the emissions are simulated, of sentences of books, with a 4-gram of other books.
There only one of the full searches is made, and what all trials would take is computed from it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks.searches.inputs import BOOKS, FRAME, VOCABULARY, Inputs, novels_4gram, sentences
from benchmarks.searches.simulation import Simulation
from benchmarks.usage import own_cpu_seconds
from lm.decoding import BeamOptions
from lm.text.vocabulary import CHARACTERS
from storage.home import home
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.data.locations import resolve_lm, resolve_model
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition import recognizer
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.processes import SearchPool
from w2v2cli.recognition.searching.spec import SearchSpec
from w2v2cli.recognition.tuning import session as tuning_session
from w2v2cli.recognition.tuning.emission_cache import keep_emissions
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Study as Record
from w2v2cli.recognition.tuning.trials import NBEST, Outcome, Tuning

T = TypeVar("T")
MISTAKEN = 0.02  # greedy WER of 10 to 15%, see `benchmarks.searches.inputs.simulated`


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
            for pid in [self._server.process.pid, *list(self._pids)]:
                used = own_cpu_seconds(pid)
                if used is not None:
                    self._used[pid] = used


def measure(
    name: str, settings: RecognitionOptions, part: CorpusSplit, options: TuningOptions
) -> Way:
    """Tune from the start, in a temporary folder."""
    MeasuredPool.seconds = 0.0
    before, began = own_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = tuning_session.tune_corpus(
            settings, part, options, study=Path(folder), keep=False
        ).outcome
    cpu = own_seconds() - before + MeasuredPool.seconds
    return way(name, outcome, cpu, time.perf_counter() - began)


def way(name: str, outcome: Outcome, cpu_seconds: float, wall_seconds: float) -> Way:
    """What a tuning found, and what it took."""
    weights = outcome.weights
    return Way(
        name,
        outcome.cost,
        cpu_seconds,
        wall_seconds,
        weights.lm_weight,
        weights.word_score,
        outcome.best.rate,
        outcome.interval,
        os.getloadavg()[0],
    )


@dataclass(frozen=True)
class Study:
    """What a study of simulated utterances takes, beside full searches."""

    utterances: int
    audio_hours: float
    greedy_wer: float
    full_search: float
    """CPU seconds of one full search with the best weights, without lists."""
    tuning: Way

    @property
    def full_searches(self) -> float:
        """The study's CPU seconds, in full searches."""
        return self.tuning.cpu_seconds / self.full_search


def simulated_study(count: int, beam: int, options: TuningOptions) -> Study:
    """Tune on simulated utterances, then search once more with the weights that were found."""
    said = sentences(BOOKS, count)
    heard = Inputs("simulated", CHARACTERS, said, Simulation(VOCABULARY, MISTAKEN)(said))
    references = References([Utterance(str(i), Path(), text) for i, text in enumerate(said)])
    lm, lexicon = novels_4gram()
    spec = SearchSpec(
        CHARACTERS, "compiled", lm, lexicon, options=BeamOptions(beam), cache=home() / "search"
    )
    lists = replace(spec, options=BeamOptions(beam, nbest=min(NBEST, beam)))
    with tempfile.TemporaryDirectory() as folder:
        kept = ([emission] for emission in heard.emissions)
        speech = keep_emissions(Path(folder) / "emissions", kept, len(CHARACTERS))
        greedy = heard.greedy_wer
        heard.emissions.clear()

        def work(spec: SearchSpec, name: str, do: Callable[[Tuning], T]) -> tuple[T, float, float]:
            """What `do` returns on a study of its own, CPU and wall seconds."""
            before, began = own_seconds(), time.perf_counter()
            with MeasuredPool(spec) as pool, Record(Path(folder) / name, {}) as record:
                pool.wait_until_ready()
                how = (pool.submit_each, pool.workers, pool.at_once)
                done = do(Tuning(options, references, speech, record, *how))
            wall = time.perf_counter() - began
            return done, own_seconds() - before + MeasuredPool.seconds, wall

        outcome, cpu, wall = work(lists, "study.sqlite", lambda tuning: tuning.run())
        _, full, _ = work(spec, "full.sqlite", lambda tuning: tuning.errors_with(outcome.weights))
    hours = len(speech.frames) * FRAME / 3600
    return Study(count, hours, greedy, full, way("races and predictions", outcome, cpu, wall))


def own_seconds() -> float:
    """User and system time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def report_study(given: argparse.Namespace) -> None:
    """Measure a study of simulated utterances, and print it."""
    options = TuningOptions(given.trials, seed=given.seed)
    study = simulated_study(given.utterances, given.beam, options)
    if given.json:
        print(json.dumps({**asdict(study), "full_searches": study.full_searches}, indent=2))
        return
    console = Console(width=120)
    title = f"{study.utterances} simulated utterances, {study.audio_hours:.2f} h, greedy WER "
    title += f"{study.greedy_wer * 100:.1f}%, {given.trials} trials, beam {given.beam}"
    console.print(table(title, (study.tuning,)))
    console.print(
        f"One full search takes {study.full_search:.1f} CPU seconds, {given.trials} of them "
        f"{given.trials * study.full_search:.0f}. The study takes as many as "
        f"{study.full_searches:.1f} full searches, {study.full_searches / given.trials:.1%}."
    )


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", help="default: dev-other, or all of --data")
    parser.add_argument("--data", type=Path, help="a corpus; default: the recordings that ship")
    parser.add_argument("--utterances", type=int, help="simulate so many; dev-other has 2864")
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
    if given.utterances:
        report_study(given)
        return
    model = resolve_model(given.model)
    settings = RecognitionOptions(
        model, resolve_lm(given.lm, model), beam=BeamOptions(width=given.beam)
    )
    [part] = find_splits(given.split or (None if given.data else "dev-other"), given.data)
    recognizer.SearchPool = MeasuredPool  # type: ignore[attr-defined]
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
