"""What `--lm-context` is worth: a Transformer's hypotheses merged by their last words.

    python -m benchmarks.searches.last_words [--model demo] [--lm transformer] [--corpus CORPUS ...]
        [--utterances 60] [--contexts 1 2 3] [--beams 50 100 250 500] [--json]

The recordings' emissions are computed once. Then, beam by beam, the batched search runs over them
merged by all words and by the last ones, one utterance at a time, all in this process with one
language model. Prints for each the processor's seconds, the histories that the network computed,
the sum of the best scores (the higher, the fewer search errors) and WER. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.calibration import corpora
from benchmarks.searches.lodr import Spoken, emitted
from lm.search.batched.search import BatchedSearch
from lm.search.setup import SearchSetup
from storage.home import home
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.recognizer import Recognizer
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.searching.build import open_language_model, searched_setup

SHIPPED = ("dev-clean", "dev-other", "test-clean", "test-other")


@dataclass(frozen=True)
class Row:
    """One beam with one way of merging."""

    beam: int
    context: int | None
    """Last words that tell hypotheses apart; None: all words."""
    cpu_seconds: float
    histories: int
    """That the network computed."""
    score: float
    """Sum over the best hypotheses."""
    wer: float


def measure(options: RecognitionOptions, setup: SearchSetup, model: Any, spoken: Spoken) -> Row:
    """Search all utterances, after the longest one has warmed the search."""
    search = BatchedSearch(setup, model, options.weights, options.beam)
    longest = max((emission for emission, _ in spoken), key=len)
    search(longest[None], [len(longest)])
    before, begin = model.rows, time.process_time()
    found = [search(emission[None], [len(emission)])[0][0] for emission, _ in spoken]
    seconds = time.process_time() - begin
    texts = [text for _, text in spoken]
    errors = sum(align(t, f.text).words.errors for t, f in zip(texts, found, strict=True))
    return Row(
        options.beam.width,
        options.beam.lm_context,
        seconds,
        model.rows - before,
        sum(one.score for one in found),
        errors / sum(len(text.split()) for text in texts),
    )


def rows(
    options: RecognitionOptions,
    recognizer: Recognizer,
    spoken: Spoken,
    beams: Sequence[int],
    contexts: Sequence[int],
) -> Iterator[Row]:
    """Every beam with every way of merging."""
    setup = searched_setup(options.search_spec(recognizer.labels))
    model = open_language_model(
        options.lm, cache=home() / "search", device="cpu", words=setup.words
    )
    for beam in beams:
        for context in (None, *contexts):
            wide = replace(options.beam, width=beam, lm_context=context)
            yield measure(replace(options, beam=wide), setup, model, spoken)


def main() -> None:
    """Compute the emissions, search, and print a row for each search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", default="transformer")
    parser.add_argument("--corpus", type=Path, nargs="+", default=[], metavar="CORPUS")
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--beams", type=int, nargs="+", default=[50, 100, 250, 500])
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row")
    args = parser.parse_args()
    options = resolve(DecodingOptions(args.model, lm=args.lm, device="cpu"))
    torch.set_num_threads(1)
    with Recognizer(replace(options, workers=1)) as recognizer:
        spoken = [
            pair for corpus in corpora(args.corpus, SHIPPED) for pair in emitted(recognizer, corpus)
        ]
        spoken = spoken[:: max(1, len(spoken) // args.utterances)][: args.utterances]
        found = rows(options, recognizer, spoken, args.beams, args.contexts)
        if args.json:
            for row in found:
                print(json.dumps(asdict(row)), flush=True)
            return
        shown = Table("beam", "merged by", "CPU s", "histories", "score", "WER %")
        for row in found:
            merged = "all words" if row.context is None else f"the last {row.context}"
            shown.add_row(
                str(row.beam),
                merged,
                f"{row.cpu_seconds:.1f}",
                str(row.histories),
                f"{row.score:.1f}",
                f"{100 * row.wer:.2f}",
            )
        Console().print(f"{len(spoken)} utterances", shown)


if __name__ == "__main__":
    main()
