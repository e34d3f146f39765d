"""Beam searches with a large 4-gram, side by side on the same emissions in one run.

    python -m benchmarks.search [--beams 50 500 1500] [--thresholds 25 50 100] [--utterances 40]
        [--repeats 3] [--contenders NAME...] [--inputs simulated recorded]
        [--lm ARPA --lexicon FILE] [--device cpu|cuda] [--json]

Emissions: simulated from transcripts (column `text`) at a greedy WER of 10 to 15%, and the shipped
model's of the recordings that ship. Language model: a 4-gram of the novels, built on first use.
Every contender has a process of its own and is warmed with the longest utterances. Then all take
turns, repeat by repeat, each time another one first.

Contenders named `-history` merge hypotheses by their words, as flashlight does, the others of ours
by the language model's state.

Prints, for each beam and threshold: medians of wall and CPU seconds, the ratio to one flashlight
process, the sum of the best scores, WER, the number of hypotheses equal to flashlight's (same
words, score within 1e-3), the set-up time with warm caches (the time of a first use is printed on
stderr), and the peak memory, in which pages shared by processes count once (PSS). A contender that
is not installed is left out. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.searches.contenders import (
    ALONE,
    CONTENDERS,
    PEER,
    TITLES,
    Contender,
    Decoded,
    Task,
    missing,
)
from benchmarks.searches.hosted import Hosted, Turn
from benchmarks.searches.inputs import (
    TEXTS,
    Inputs,
    novels_4gram,
    recorded,
    simulated,
    unpacked,
    wer,
)
from lm.decoding import BeamOptions, DecodingWeights
from w2v2cli.processes import usable_cores

SAME = 1e-3  # difference in score
LOOK = 0.02  # seconds between two looks at memory while contenders are warmed


@dataclass(frozen=True)
class Row:
    """Results of one contender; seconds are medians of the repeats."""

    contender: str
    seconds: float
    cpu_seconds: float
    """Processor time of all its processes."""
    times_real_time: float
    ratio: float | None
    """Seconds of one flashlight process, divided by those of this contender."""
    score: float
    """Sum of the scores of the best hypotheses: the higher, the fewer search errors."""
    wer: float
    equal: int | None
    """Utterances with the words and the score of flashlight; None if flashlight did not run."""
    setup_seconds: float
    peak_mb: float
    different: list[str]
    """Hypotheses that are not equal: whether the score ties, is better or worse, and both."""


@dataclass(frozen=True)
class Case:
    """A beam and a threshold on one kind of emissions."""

    inputs: str
    utterances: int
    audio_seconds: float
    greedy_wer: float
    beam: int | None
    """None for contenders that prune in their own way."""
    beam_threshold: float | None
    load_before: float
    """Load average of the machine in the minute before."""
    rows: list[Row]


def measure(args: argparse.Namespace) -> Iterator[Case]:
    """Measure and yield every case."""
    names = list(args.contenders)
    for reason in filter(None, (missing(name, args.device) for name in args.contenders)):
        print(reason, file=sys.stderr, flush=True)
    names = [name for name in names if missing(name, args.device) is None]
    with tempfile.TemporaryDirectory() as folder:
        lm, lexicon = (args.lm, args.lexicon) if args.lm else novels_4gram()
        base = Task(
            (),
            lm,
            unpacked(lexicon, Path(folder)),
            BeamOptions(),
            DecodingWeights(args.lm_weight, args.word_score),
            args.workers,
            Path(folder),
            args.device,
            args.at_once,
        )
        for inputs in chosen_inputs(args):
            task = replace(base, labels=inputs.labels)
            first_use(task, names)
            alone = [name for name in names if name in ALONE]
            others = [name for name in names if name not in ALONE]
            for options in [
                BeamOptions(beam, None, limit, args.nbest)
                for limit in args.thresholds
                for beam in args.beams
            ]:
                if others:
                    yield case(inputs, replace(task, options=options), others, args.repeats)
            if alone:
                yield case(inputs, task, alone, args.repeats)


def chosen_inputs(args: argparse.Namespace) -> Iterator[Inputs]:
    """Yield the inputs that the command line names."""
    if "simulated" in args.inputs:
        yield simulated(args.transcripts, args.utterances, args.mistaken)
    if "recorded" in args.inputs:
        yield recorded(args.model, args.corpus, args.utterances)


def first_use(task: Task, names: list[str]) -> None:
    """Let the engines that cache files do so, and print how long that takes."""
    engines = {name.split("-")[0] for name in names}
    for name in ("compiled-threads", "batched"):
        if name.split("-")[0] in engines:
            hosted = Hosted(Contender(name, task))
            print(
                f"{name}: set-up {hosted.setup_seconds:.2f} s at its first use of the files.",
                file=sys.stderr,
                flush=True,
            )
            hosted.close()


def case(inputs: Inputs, task: Task, names: list[str], repeats: int) -> Case:
    """Set all contenders up, warm them, and let them take turns."""
    load = os.getloadavg()[0]
    hosts = {name: Hosted(Contender(name, task)) for name in names}
    warming = sorted(inputs.emissions, key=len)[-2 * task.workers :]
    for hosted in hosts.values():
        hosted.turn(warming, LOOK)
    turns: dict[str, list[Turn[Decoded]]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            turns[name].append(hosts[name].turn(inputs.emissions))
    for hosted in hosts.values():
        hosted.close()
    peer = turns.get(PEER)
    alone = names[0] in ALONE
    return Case(
        inputs=inputs.name,
        utterances=len(inputs.texts),
        audio_seconds=inputs.audio_seconds,
        greedy_wer=inputs.greedy_wer,
        beam=None if alone else task.options.width,
        beam_threshold=None if alone else task.options.threshold,
        load_before=load,
        rows=[row(name, turns[name], hosts[name], inputs, peer) for name in names],
    )


def row(
    name: str,
    turns: list[Turn[Decoded]],
    hosted: Hosted[Decoded],
    inputs: Inputs,
    peer: list[Turn[Decoded]] | None,
) -> Row:
    """Sum up the turns of one contender, and compare them with those of the peer."""
    seconds = statistics.median(turn.seconds for turn in turns)
    ratio = equal = None
    different: list[str] = []
    if peer is not None:
        ratio = statistics.median(turn.seconds for turn in peer) / seconds
        pairs = list(zip(turns[0].result, peer[0].result, strict=True))
        equal = sum(
            ours[0] == theirs[0] and abs(ours[1] - theirs[1]) < SAME for ours, theirs in pairs
        )
        if not math.isnan(pairs[0][0][1]):
            different = [
                f"{verdict(*p)} {p}"
                for p in pairs
                if p[0][0] != p[1][0] or abs(p[0][1] - p[1][1]) >= SAME
            ]
    return Row(
        contender=name,
        seconds=seconds,
        cpu_seconds=statistics.median(turn.cpu_seconds for turn in turns),
        times_real_time=inputs.audio_seconds / seconds,
        ratio=ratio,
        score=sum(score for _, score in turns[0].result),
        wer=wer(inputs.texts, [text for text, _ in turns[0].result]),
        equal=equal,
        setup_seconds=hosted.setup_seconds,
        peak_mb=hosted.peak_mb,
        different=different,
    )


def verdict(ours: tuple[str, float], theirs: tuple[str, float]) -> str:
    """Compare the scores of two hypotheses that are not equal."""
    if abs(ours[1] - theirs[1]) < SAME:
        return "a tie:"
    return "a better score:" if ours[1] > theirs[1] else "a worse score:"


def table(found: Case, args: argparse.Namespace) -> Table:
    """Lay a case out as a table."""
    how = (
        "pruned in their own way"
        if found.beam is None
        else f"beam {found.beam}, threshold {found.beam_threshold:g}"
    )
    title = (
        f"{found.inputs}: {how}; {found.utterances} utterances, {found.audio_seconds:.0f} s, "
        f"greedy WER {100 * found.greedy_wer:.1f}%, load before {found.load_before:.1f}"
    )
    shown = Table(title=title)
    shown.add_column("")
    headings = (
        "s",
        "CPU s",
        "x real time",
        "ratio",
        "score",
        "WER %",
        "equal",
        "set-up s",
        "peak MB",
    )
    for heading in headings:
        shown.add_column(heading, justify="right")
    for one in found.rows:
        shown.add_row(
            TITLES[one.contender].format(workers=args.workers, device=args.device),
            f"{one.seconds:.2f}",
            f"{one.cpu_seconds:.2f}",
            f"{one.times_real_time:.1f}",
            "" if one.ratio is None else f"{one.ratio:.2f}",
            "" if math.isnan(one.score) else f"{one.score:.1f}",
            f"{100 * one.wer:.2f}",
            "" if one.equal is None else f"{one.equal}/{found.utterances}",
            f"{one.setup_seconds:.2f}",
            f"{one.peak_mb:.0f}",
        )
    return shown


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "transcripts",
        nargs="?",
        type=Path,
        default=TEXTS,
        help="tab-separated, with a column `text`",
    )
    parser.add_argument(
        "--inputs", nargs="+", choices=["simulated", "recorded"], default=["simulated", "recorded"]
    )
    parser.add_argument("--model", default="demo", help="model of the recorded inputs")
    parser.add_argument(
        "--corpus", type=Path, help="corpus of the recorded inputs; default: the splits that ship"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=list(CONTENDERS),
        metavar="NAME",
        help=", ".join(CONTENDERS),
    )
    parser.add_argument("--lm", type=Path, help="an ARPA file; default: a 4-gram of the novels")
    parser.add_argument("--lexicon", type=Path)
    parser.add_argument("--beams", type=int, nargs="+", default=[50, 500, 1500])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[25.0, 50.0, 100.0])
    parser.add_argument("--nbest", type=int, default=1, help="hypotheses asked of our searches")
    parser.add_argument("--lm-weight", type=float, default=2.0)
    parser.add_argument("--word-score", type=float, default=-1.0)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--utterances", type=int, default=40)
    parser.add_argument(
        "--mistaken", type=float, default=0.02, help="share of symbols where another symbol wins"
    )
    parser.add_argument("--device", default="cpu", help="device of the batched search")
    parser.add_argument(
        "--at-once", type=int, default=64, help="utterances in a batch of the batched search"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--json", action="store_true", help="print a line of JSON for each beam and threshold"
    )
    args = parser.parse_args()
    if (args.lm is None) != (args.lexicon is None):
        parser.error("--lm and --lexicon go together")
    return args


def main() -> None:
    """Measure, and print each case as it is done."""
    args = arguments()
    for found in measure(args):
        if args.json:
            print(json.dumps(asdict(found)), flush=True)
        else:
            Console(width=132).print(table(found, args))
            for one in found.rows:
                for difference in one.different:
                    print(f"{one.contender}: {difference}")


if __name__ == "__main__":
    main()
