"""Set-up of a search with a random 4-gram of ten million n-grams and a lexicon of 200 000 words.

    python -m benchmarks.startup [--words 200000 --ngrams 10000000] [--keep FOLDER] [--json]

Each row is a process of its own that sets one search up as `w2v2 transcribe` does: ours the first
time, when it caches what it compiles from the files, ours from then on, and flashlight-text with
KenLM, which reads the ARPA file every time. Seconds are those of the set-up, without the start of
Python. Memory is the largest resident set (Linux); ours includes the mapped files, which all
processes share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

SHARES = (0.4, 0.35, 0.25)  # of orders 2, 3 and 4 in all n-grams longer than a word
BLOCK = 1 << 16  # n-grams formatted at once
SET_UP = """
import sys, time
from pathlib import Path
from lm.text.vocabulary import CHARACTERS
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.server import stderr_closed
from w2v2cli.recognition.searching.spec import SearchSpec
import lm.search.compiled, lm.search.flat_lexicon, lm.text.lexicon
if sys.argv[1] == "flashlight":
    import lm.search.flashlight, flashlight.lib.text.decoder.kenlm
engine, lm, lexicon, cache = sys.argv[1:]
spec = SearchSpec(CHARACTERS, engine, Path(lm), Path(lexicon), cache=Path(cache))
before = time.perf_counter()
with stderr_closed():
    search = build_search(spec, lambda sentence: None)
seconds = time.perf_counter() - before
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(seconds, int(peak) * 1.024 / 1e3)
"""


def names(count: int) -> list[str]:
    """Return distinct words of three letters or more."""
    letters = "ETAOINSHRDLUCMFWYPVBGKQJXZ"
    found = []
    for number in range(count):
        word, left = "", number + len(letters) ** 2
        while left:
            left, letter = divmod(left, len(letters))
            word += letters[letter]
        found.append(word)
    return found


def made_up(words: int, ngrams: int) -> list[np.ndarray]:
    """Draw bigrams, trigrams and 4-grams, an array (N, n) of word numbers for each order.

    The first and the last n - 1 words of each n-gram are an n-gram of the order below.
    """
    rng = np.random.default_rng(0)
    counts = [int(share * (ngrams - words)) for share in SHARES]
    # A power distribution: a few words are frequent.
    common = (words * rng.power(0.3, (int(counts[0] * 1.6), 2))).astype(np.int64)
    orders = [np.unique(common, axis=0)]
    orders[0] = orders[0][np.sort(rng.permutation(len(orders[0]))[: counts[0]])]
    for count in counts[1:]:
        shorter = orders[-1]
        # Rows are sorted, so the rows that continue one beginning lie side by side.
        _, first, number = np.unique(shorter[:, :-1], axis=0, return_index=True, return_counts=True)
        heads = shorter[first][:, :-1]
        where = _places(heads, shorter[:, 1:])
        some = np.flatnonzero(where >= 0)
        some = rng.choice(some, int(count * 1.3))
        at = where[some]
        more = first[at] + (rng.random(len(some)) * number[at]).astype(np.int64)
        grown = np.unique(np.concatenate([shorter[some], shorter[more][:, -1:]], axis=1), axis=0)
        orders.append(grown[np.sort(rng.permutation(len(grown))[:count])])
    return orders


def _places(heads: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return, for each wanted row, the equal row of `heads`, which are sorted; -1 for none."""
    base = np.int64(1) << 20
    keys, asked = (
        sum(rows[:, i] * base ** (rows.shape[1] - 1 - i) for i in range(rows.shape[1]))
        for rows in (heads, wanted)
    )
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, at, -1)


def lines(rows: np.ndarray, words: np.ndarray, highest: bool, seed: int) -> Iterator[str]:
    """Yield the text of an ARPA section, in blocks, with random probabilities."""
    rng = np.random.default_rng(seed)
    for begin in range(0, len(rows), BLOCK):
        block = rows[begin : begin + BLOCK]
        scores, backoffs = rng.uniform(-4, -0.5, len(block)), rng.uniform(-1, -0.1, len(block))
        texts = [" ".join(gram) for gram in words[block].tolist()]
        end = (
            [""] * len(block) if highest else [f"\t{backoff:.4f}" for backoff in backoffs.tolist()]
        )
        yield "".join(
            f"{s:.4f}\t{text}{b}\n" for s, text, b in zip(scores.tolist(), texts, end, strict=True)
        )


def make_files(folder: Path, words: int, ngrams: int) -> tuple[Path, Path, int]:
    """Write the ARPA file and the lexicon; returns both, and the number of n-grams."""
    arpa, lexicon = folder / f"{words}-{ngrams}.arpa", folder / f"{words}.txt"
    text = np.array(names(words))
    orders = made_up(words, ngrams)
    counts = [words + 3, *map(len, orders)]
    if not arpa.exists():
        lexicon.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in text.tolist()))
        beside = arpa.with_suffix(".part")
        with beside.open("w") as file:
            file.write(
                "\\data\\\n" + "".join(f"ngram {n}={count}\n" for n, count in enumerate(counts, 1))
            )
            file.write("\n\\1-grams:\n-3\t<unk>\n-99\t<s>\t-0.5\n-1\t</s>\n")
            file.writelines(lines(np.arange(words)[:, None], text, False, 1))
            for n, rows in enumerate(orders, 2):
                file.write(f"\n\\{n}-grams:\n")
                file.writelines(lines(rows, text, n == 4, n))
            file.write("\n\\end\\\n")
        beside.replace(arpa)
    return arpa, lexicon, sum(counts)


def set_up(engine: str, arpa: Path, lexicon: Path, cache: Path) -> dict[str, float]:
    """Set a search up in a process of its own; returns its seconds and its memory."""
    call = [sys.executable, "-c", SET_UP, engine, *map(str, (arpa, lexicon, cache))]
    printed = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    return {"seconds": float(printed[0]), "peak_mb": float(printed[1])}


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=int, default=200_000)
    parser.add_argument("--ngrams", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="folder where the files are written and stay")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        arpa, lexicon, ngrams = make_files(folder, args.words, args.ngrams)
        cache = Path(temporary) / "cache"
        rows = {
            "w2v2, first use": set_up("compiled", arpa, lexicon, cache),
            "w2v2, from then on": set_up("compiled", arpa, lexicon, cache),
            "w2v2, once more": set_up("compiled", arpa, lexicon, cache),
            "flashlight and KenLM": set_up("flashlight", arpa, lexicon, cache),
        }
        kept = sum(file.stat().st_size for file in cache.iterdir()) / 1e6
        size = arpa.stat().st_size / 1e6
    if args.json:
        facts = {"words": args.words, "ngrams": ngrams, "arpa_mb": size, "kept_mb": kept}
        print(json.dumps({**facts, "rows": rows}))
        return
    table = Table(
        title=f"{args.words} words, {ngrams / 1e6:.1f} M n-grams: "
        f"ARPA {size:.0f} MB, cached {kept:.0f} MB"
    )
    table.add_column("")
    table.add_column("s", justify="right")
    table.add_column("peak MB", justify="right")
    for name, row in rows.items():
        table.add_row(name, f"{row['seconds']:.2f}", f"{row['peak_mb']:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
