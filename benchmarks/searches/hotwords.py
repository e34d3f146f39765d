"""Hot words and phrases: what many of them cost, and what the floor of unknown ones is worth.

    python -m benchmarks.searches.hotwords cost [--phrases 200] [--beams 50 250]
        [--engines compiled-threads batched flashlight-pool] [--utterances 40] [--repeats 3]
    python -m benchmarks.searches.hotwords floor [--utterances 40]

Simulated emissions, and the 4-gram that ships. `cost`: each engine searches with and without the
phrases, in two processes of one core that take turns on the same utterances. Half of the phrases
are two or three words of what was said, the others of other sentences. Prints processor seconds,
medians of the repeats, and their ratio.

`floor`: the rarer half of the words of the transcripts is taken out of language model and lexicon,
as names would be, and given as hot words among as many others that nobody said. Prints, for each
floor, WER, how many of the words that were said were found, and how many were found where they were
not said. Asserts nothing.
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.searches.contenders import Contender, Decoded, Task
from benchmarks.searches.hosted import Hosted
from benchmarks.searches.inputs import TEXTS, Inputs, references, simulated, unpacked, wer
from lm.decoding import BeamOptions, DecodingWeights
from lm.search.hotwords import WEIGHT
from w2v2cli.data.locations import SHIPPED

FLOORS = (-math.inf, -6.0, -5.0, -4.0, -3.0, -2.0)
RARE = -4.7  # log10 p of the words that stand for names


def cost(args: argparse.Namespace, inputs: Inputs, task: Task) -> None:
    """Print a line for each engine and beam."""
    phrases = drawn(inputs.texts, references(TEXTS, 1000)[-300:], args.phrases)
    print(f"{len(phrases)} phrases, {len({w for p in phrases for w in p.split()})} words")
    for beam in args.beams:
        each = replace(task, options=BeamOptions(beam))
        for engine in args.engines:
            hot = replace(each, hotwords=dict.fromkeys(phrases, WEIGHT))
            hosts = [Hosted(Contender(engine, one)) for one in (each, hot)]
            taken: list[list[float]] = [[], []]
            results: list[Decoded] = [[], []]
            for repeat in range(args.repeats + 1):
                for which, host in enumerate(hosts):
                    turn = host.turn(inputs.emissions)
                    results[which] = turn.result
                    if repeat:  # the first one warms
                        taken[which].append(turn.cpu_seconds)
            for host in hosts:
                host.close()
            plain, favoured = map(statistics.median, taken)
            wers = [100 * wer(inputs.texts, [text for text, _ in one]) for one in results]
            print(
                f"{engine}, beam {beam}: {plain:.2f} CPU s, WER {wers[0]:.2f}%; with phrases "
                f"{favoured:.2f} CPU s, WER {wers[1]:.2f}%; ratio {favoured / plain:.2f}",
                flush=True,
            )


def drawn(said: list[str], others: list[str], count: int) -> list[str]:
    """`count` different phrases of two or three words, every second one of what was said."""
    draw, phrases = random.Random(0), dict[str, None]()
    while len(phrases) < count:
        words = draw.choice(others if len(phrases) % 2 else said).split()
        length = draw.randint(2, 3)
        start = draw.randrange(max(1, len(words) - length + 1))
        phrases[" ".join(words[start : start + length])] = None
    return list(phrases)


def floor(args: argparse.Namespace, inputs: Inputs, task: Task) -> None:
    """Print a line for each floor."""
    scores = unigrams(task.lm)
    names = rare(inputs.texts, scores)
    strangers = sorted(rare(references(TEXTS, 1000)[-500:], scores) - names)
    strangers = random.Random(0).sample(strangers, min(len(names), len(strangers)))
    folder = task.cache
    lacking = {*names, *strangers}
    small = replace(
        task,
        lm=without(task.lm, lacking, folder / "without.arpa"),
        lexicon=without(task.lexicon, lacking, folder / "without.txt"),
        options=BeamOptions(args.beams[-1]),
    )
    print(f"{len(names)} words taken out, with {len(strangers)} more as hot words")
    hot = dict.fromkeys(sorted(lacking), WEIGHT)
    runs = [("no hot words", small)]
    runs += [(f"floor {least:g}", replace(small, hotwords=hot, floor=least)) for least in FLOORS]
    for name, each in runs:
        with Contender("compiled-threads", each) as search:
            texts = [text for text, _ in search(inputs.emissions)]
        right, wrong = counted(inputs.texts, texts, lacking)
        spoken = sum(word in lacking for text in inputs.texts for word in text.split())
        print(
            f"{name}: WER {100 * wer(inputs.texts, texts):.2f}%, found {right} of {spoken}, "
            f"wrongly {wrong}",
            flush=True,
        )


def unigrams(lm: Path) -> dict[str, float]:
    """log10 p of the words of an ARPA file."""
    scores: dict[str, float] = {}
    with lm.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("\\2-grams"):
                break
            parts = line.split()
            if len(parts) >= 2 and not line.startswith(("\\", "ngram")):
                scores[parts[1]] = float(parts[0])
    return scores


def rare(texts: Iterable[str], scores: dict[str, float]) -> set[str]:
    """The words of texts that the model knows and finds rare, with five letters or more."""
    words = {word for text in texts for word in text.split()}
    return {word for word in words if len(word) >= 5 and scores.get(word, 0.0) < RARE}


def without(path: Path, words: set[str], made: Path) -> Path:
    """A copy of an ARPA file or a lexicon in which these words have names that nobody says."""
    names = {word: f"@{i}" for i, word in enumerate(sorted(words))}
    spelled = path.suffix != ".arpa"
    with path.open(encoding="utf-8") as file, made.open("w", encoding="utf-8") as out:
        for line in file:
            head, *rest = line.rstrip("\n").split("\t")
            if spelled:
                if head not in words:
                    out.write(line)
                continue
            if rest:
                rest[0] = " ".join(names.get(word, word) for word in rest[0].split(" "))
            out.write("\t".join([head, *rest]) + "\n")
    return made


def counted(texts: list[str], found: list[str], words: set[str]) -> tuple[int, int]:
    """How many of `words` were found as often as they were said, and how many more often."""
    right = wrong = 0
    for text, hypothesis in zip(texts, found, strict=True):
        said = Counter(word for word in text.split() if word in words)
        heard = Counter(word for word in hypothesis.split() if word in words)
        right += (said & heard).total()
        wrong += (heard - said).total()
    return right, wrong


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["cost", "floor"])
    parser.add_argument("--phrases", type=int, default=200)
    parser.add_argument("--beams", type=int, nargs="+", default=[50, 250])
    parser.add_argument(
        "--engines", nargs="+", default=["compiled-threads", "batched", "flashlight-pool"]
    )
    parser.add_argument("--utterances", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    inputs = simulated(TEXTS, args.utterances, 0.02)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lm = folder / "lm.arpa"
        lm.write_bytes(gzip.decompress((SHIPPED / "demo-4gram.arpa.gz").read_bytes()))
        lexicon = unpacked(SHIPPED / "demo-lexicon.txt.gz", folder)
        task = Task(inputs.labels, lm, lexicon, BeamOptions(), weights(), 1, folder)
        (cost if args.what == "cost" else floor)(args, inputs, task)


def weights() -> DecodingWeights:
    """Those of the other measurements on these emissions."""
    return DecodingWeights(2.0, -1.0)


if __name__ == "__main__":
    main()
