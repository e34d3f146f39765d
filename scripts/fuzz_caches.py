"""Damage the files that the search keeps, 500 times each, and search with them.

    python -m scripts.fuzz_caches [--mutations 500] [--seed 0]

For each way of searching and each file that it keeps, every mutation (bits flipped, a stretch
zeroed or replaced, the end cut off) must end in one of three ways: the file is made again and the
words are those of before; the damage is where no word depends on it; or a sentence refuses. The
searches run in another process, so that a crash or a hang is seen and the next ones go on. Prints a
table of how they ended; ends with exit code 1 where one crashed, hung, or found other words.

A second round does the same without comparing checksums, as if the damage had come after: there
other words are possible, and only crashes and hangs count as faults.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram import automaton
from lm.ngram.arpa import write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.spec import Engine, SearchSpec

LABELS = ("<pad>", "|", "A", "B")
ENGINES: tuple[Engine, ...] = ("compiled", "batched")
LIMIT = 60  # seconds of a search, after which it hangs
ENDS = ("rebuilt", "no word depends on it", "a sentence", "other words", "crashed", "hung")
FAULTS = ("other words", "crashed", "hung")


def mutated(whole: bytes, draw: random.Random) -> bytes:
    """Some bits of a file flipped, a stretch of it zeroed or replaced, or its end cut off."""
    content, begin = bytearray(whole), draw.randrange(len(whole))
    end = min(len(whole), begin + draw.choice([1, 4, 64, 300, 4096]))
    kind = draw.randrange(4)
    if kind == 0:
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        content[begin:end] = bytes(end - begin)
    elif kind == 2:
        content[begin:end] = draw.randbytes(end - begin)
    else:
        del content[begin:]
    return bytes(content)


def files(folder: Path) -> SearchSpec:
    """A trigram of random words over two letters, its lexicon, and an empty cache beside them."""
    draw = random.Random(0)
    words = sorted({"".join(draw.choices("AB", k=draw.randint(1, 6))) for _ in range(60)})
    sentences = [draw.choices(words, k=draw.randint(1, 8)) for _ in range(400)]
    write_arpa(estimate(count_ngrams(sentences, 3)), folder / "lm.arpa")
    lines = "".join(f"{word}\t{' '.join(word)} |\n" for word in words)
    (folder / "lexicon.txt").write_text(lines)
    return SearchSpec(
        LABELS,
        "compiled",
        folder / "lm.arpa",
        folder / "lexicon.txt",
        cache=folder / "cache",
        weights=DecodingWeights(1.0, 0.0),
        options=BeamOptions(30),
    )


def found(spec: SearchSpec) -> Any:
    """What a search finds in a few emissions of chance."""
    search = build_search(spec, lambda sentence: None)
    emissions = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (3, 30))).astype(np.float32)
    return [[h.words for h in ranked] for ranked in search(emissions, [30, 25, 7], None)]


def how_it_ends(spec: SearchSpec, expected: Any, path: Path, whole: bytes) -> str:
    """Search with the damaged file at `path`, and say how that ended, if it ends at all."""
    try:
        same = found(spec) == expected
        rebuilt = path.exists() and path.read_bytes() == whole
        return "other words" if not same else "rebuilt" if rebuilt else ENDS[1]
    except (ValueError, OSError) as error:  # what commands print as one sentence
        return "a sentence" if str(error).endswith((".", "?")) else "crashed"
    except BaseException:
        traceback.print_exc()
        return "crashed"


def ends_of(
    spec: SearchSpec, expected: Any, path: Path, whole: bytes, damaged: list[bytes]
) -> Iterator[str]:
    """Yield how each search with a damaged file ends, in a process that may end with it."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        try:
            for content in damaged:
                path.unlink(missing_ok=True)
                path.write_bytes(content)
                signal.alarm(LIMIT)
                end = how_it_ends(spec, expected, path, whole)
                os.write(theirs, bytes([ENDS.index(end)]))
        finally:
            os._exit(0)
    os.close(theirs)
    while code := os.read(ours, 1):
        yield ENDS[code[0]]
    os.close(ours)
    _, status = os.waitpid(child, 0)
    if (code_of := os.waitstatus_to_exitcode(status)) != 0:
        yield "hung" if code_of == -signal.SIGALRM else "crashed"


def round_of(spec: SearchSpec, kept: Path, count: int, seed: int) -> Counter[str]:
    """Damage one kept file `count` times, and count how the searches end."""
    whole, draw, ends = kept.read_bytes(), random.Random(seed), Counter[str]()
    expected, damaged = found(spec), [mutated(whole, draw) for _ in range(count)]
    while ends.total() < count:  # one process more for each that died
        ends.update(ends_of(spec, expected, kept, whole, damaged[ends.total() :]))
    kept.unlink(missing_ok=True)
    kept.write_bytes(whole)
    return ends


def rounds(count: int, seed: int) -> Iterator[tuple[str, Counter[str], tuple[str, ...]]]:
    """Yield every round: what was damaged, how its searches ended, and which ends are faults."""
    import torch

    torch.set_num_threads(1)  # forked processes have no other threads
    with tempfile.TemporaryDirectory() as folder:
        base = files(Path(folder))
        for engine in ENGINES:
            spec = SearchSpec(**vars(base) | {"engine": engine})
            found(spec)
            for suffix in ("automaton", "lexicon"):
                [kept] = (Path(folder) / "cache").glob(f"*.{suffix}")
                yield f"{engine}: .{suffix}", round_of(spec, kept, count, seed), FAULTS
            [kept] = (Path(folder) / "cache").glob("*.automaton")
            # As if it was damaged afterwards.
            with patch.object(automaton, "is_whole", return_value=True):
                yield f"{engine}: unchecked", round_of(spec, kept, count, seed), FAULTS[1:]


def main() -> None:
    """Run all rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    table, faults = Table("damaged", *ENDS), 0
    for name, ends, counted in rounds(args.mutations, args.seed):
        table.add_row(name, *(str(ends[end]) for end in ENDS))
        faults += sum(ends[end] for end in counted)
    Console(width=100).print(table)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
