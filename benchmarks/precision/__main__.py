"""Words and seconds of the acoustic model in float32, in bfloat16 and in 8 bits, on the CPU.

    python -m benchmarks.precision [--data CORPUS ...] [--model demo] [--lm none demo-4gram]
        [--precision fp32 bf16 int8 w8] [--threads 1] [-o FOLDER]

    fp32, bf16   as `w2v2 eval --precision` runs them
    int8         linear layers in 8 bits: torch.ao's dynamic quantization, a scale a tensor
    w8           a file in 8 bits, with a scale for each row of a matrix; computed in float32

Every recording passes through the network once in each precision, in turns, and what comes out is
searched with each language model at the paper's beam for tests: the words are those of `w2v2 eval`.
Prints WER by corpus, the difference from the first precision (95%, a paired bootstrap over
utterances), how many words are others, and the CPU seconds of the network. Then BASE with random
weights on noise, for seconds alone. -o writes the tables and all figures (precision.md and .json).
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.precision.listening import Listener
from benchmarks.precision.networks import (
    NOISE_SECONDS,
    PRECISIONS,
    base_seconds,
    in_eight_bits,
    loaded,
)
from benchmarks.precision.tables import rows_of, speed_table, tables
from models.importers.reader import read_model
from w2v2cli.data.corpora.catalogue import MINIATURE, CorpusSplit, find_splits
from w2v2cli.processes import bfloat16_instructions
from w2v2cli.recognition.options import TESTING, DecodingOptions
from w2v2cli.recognition.recognizer import model_outputs, open_search
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.tuning.fingerprints import model_hash


def measured(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Run everything; the page and its figures."""
    options = {
        lm: resolve(DecodingOptions(args.model, lm=lm, device="cpu", workers=1), TESTING)
        for lm in args.lm
    }
    location = next(iter(options.values())).model
    checkpoint = read_model(location.path, location.language)
    outputs = model_outputs(location)
    models = {precision: loaded(checkpoint, precision) for precision in args.precision}
    with ExitStack() as stack:
        searches = {
            lm: stack.enter_context(open_search(one, outputs.labels, outputs.metadata, print))
            for lm, one in options.items()
        }
        listener, found = Listener(models, searches, print), {}
        for corpus in corpora_of(args.data):
            found[Path(corpus.name).stem] = listener.evaluated(corpus)
            print(f"{corpus.name} is done.", flush=True)
    rows = rows_of(found, args.precision[0])
    audio = sum(next(iter(results.values())).audio_seconds for results in found.values())
    spent = {precision: sum(model.spent) for precision, model in models.items()}
    base = base_seconds(args.precision)
    size = in_eight_bits(checkpoint.weights)[1]
    weights = model_hash(location.path, location.language)[:12]
    native = ", ".join(bfloat16_instructions()) or "none"
    title = (
        f"{location.title}, weights {weights}; torch {torch.__version__}, {args.threads} threads, "
        f"instructions for bfloat16: {native}. In 8 bits the file has {size / 1e6:.1f} MB.\n"
    )
    page = "\n".join(
        [
            title,
            tables(rows, args.precision[0]),
            speed_table(f"{audio:.0f} s of these", spent, audio),
            speed_table(f"BASE, random weights, {NOISE_SECONDS} s", base, NOISE_SECONDS),
        ]
    )
    figures: dict[str, Any] = {
        "weights": weights,
        "torch": torch.__version__,
        "bfloat16": native,
        "audio": audio,
    }
    figures |= {"cpu seconds": spent, "base": base, "rows": [row.to_json() for row in rows]}
    return page, figures


def corpora_of(paths: list[Path]) -> list[CorpusSplit]:
    """The corpora that are named, else the splits of the miniature that ships."""
    if not paths:
        return find_splits("all", MINIATURE)
    return [corpus for path in paths for corpus in find_splits(None, path)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="CORPUS")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", nargs="+", default=["none", "demo-4gram"])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    page, figures = measured(args)
    print(page)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "precision.md").write_text(page, encoding="utf-8")
        (args.output / "precision.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
