"""What a negative weight of a second language model is worth: the low-order density ratio (LODR).

    python -m benchmarks.searches.lodr TRANSCRIPTS.arpa [--model demo] [--lm 4gram] [--beam 100]
        [--choose CORPUS ...] [--test CORPUS ...]

TRANSCRIPTS.arpa: a bigram of the transcripts that the acoustic model was trained on, which stands
for the language model that it learned from them (`w2v2 lm build --order 2`). For each weight of it
the other weights are chosen by the fewest word errors on some corpora, by default the development
splits of the miniature, and the errors on others, by default its test splits, are printed for the
weights that were chosen. Asserts nothing.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.calibration import corpora
from lm.decoding import DecodingWeights
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.recognizer import Recognizer
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.searching.build import build_compiled

SECOND_WEIGHTS = (0.2, 0.0, -0.1, -0.2, -0.4, -0.8)
LM_WEIGHTS = (1.5, 2.0, 2.5, 3.0)
WORD_SCORES = (-1.0, 0.0, 1.0)

Spoken = list[tuple[np.ndarray, str]]  # (T, V) emissions and what was said


def emitted(recognizer: Recognizer, corpus: CorpusSplit) -> Spoken:
    """The emissions of a corpus and its transcripts."""
    said = [u for u in corpus.utterances if u.text and not u.start]
    found = recognizer.emissions([u.path for u in said])
    return [(emission, u.text or "") for emission, u in zip(found, said, strict=True)]


def errors(options: RecognitionOptions, recognizer: Recognizer, spoken: Spoken) -> int:
    """The word errors of a search with the weights of `options`."""
    search = build_compiled(options.search_spec(recognizer.labels), lambda sentence: None)
    return sum(
        align(text, search(emission[None], [len(emission)])[0][0].text).words.errors
        for emission, text in spoken
    )


def table(
    options: RecognitionOptions,
    recognizer: Recognizer,
    choosing: Spoken,
    testing: Sequence[tuple[str, Spoken]],
) -> Table:
    """A row for each weight of the second model."""
    shown = Table("second weight", "LM weight", "word score", "errors chosen by")
    for name, spoken in testing:
        words = sum(len(text.split()) for _, text in spoken)
        shown.add_column(f"{name} WER % of {words}")
    for second in SECOND_WEIGHTS:
        tried = [
            replace(
                options,
                weights=replace(
                    options.weights, lm_weight=lm, word_score=word, second_lm_weight=second
                ),
            )
            for lm, word in itertools.product(LM_WEIGHTS, WORD_SCORES)
        ]
        counts = [errors(one, recognizer, choosing) for one in tried]
        best = tried[int(np.argmin(counts))]
        weights: DecodingWeights = best.weights
        rates = [
            100 * errors(best, recognizer, spoken) / sum(len(text.split()) for _, text in spoken)
            for _, spoken in testing
        ]
        shown.add_row(
            f"{second:g}",
            f"{weights.lm_weight:g}",
            f"{weights.word_score:g}",
            str(min(counts)),
            *(f"{rate:.1f}" for rate in rates),
        )
    return shown


def main() -> None:
    """Choose the weights on some corpora, and show what they are worth on others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("transcripts", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", default="4gram")
    parser.add_argument("--beam", type=int, default=100)
    parser.add_argument("--choose", type=Path, nargs="+", default=[], metavar="CORPUS")
    parser.add_argument("--test", type=Path, nargs="+", default=[], metavar="CORPUS")
    args = parser.parse_args()
    options = resolve(
        DecodingOptions(
            args.model,
            lm=(args.lm, str(args.transcripts)),
            lm_weight=(2.0, 0.0),
            beam=args.beam,
            device="cpu",
        )
    )
    with Recognizer(replace(options, workers=1)) as recognizer:
        choosing = [
            pair
            for corpus in corpora(args.choose, ("dev-clean", "dev-other"))
            for pair in emitted(recognizer, corpus)
        ]
        testing = [
            (corpus.name, emitted(recognizer, corpus))
            for corpus in corpora(args.test, ("test-clean", "test-other"))
        ]
        Console().print(table(options, recognizer, choosing, testing))


if __name__ == "__main__":
    main()
