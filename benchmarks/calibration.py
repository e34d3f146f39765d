"""Confidences of words beside how often these words are right, on real recordings.

    python -m benchmarks.calibration [--model demo] [--lm 4gram] [--beam 500]
        [--choose CORPUS ...] [--test CORPUS ...] [--scales 0.1 0.2 ...]

Every recording is searched once, with its lattice. Each word of the best path is right or wrong by
the alignment with the reference, and has two confidences: the mean probability of its frames (the
acoustic model's alone), and its posterior over the lattice, at each scale of the scores.

Prints the expected calibration error at each scale on the corpora to choose by, and for the scale
with the least there the reliability on those to test with: words by confidence in ten bins, with
the mean confidence and the share that is right. Without corpora the development and the test splits
of the miniature are taken. Asserts nothing.

Expected calibration error: the mean over all words of the difference between the mean confidence
and the share that is right in the word's bin, of ten of equal width (Guo et al. 2017). Normalised
cross entropy: 1 for certain knowledge, 0 for knowing only the share of right words, below 0 for
worse (NIST).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from lm.hypothesis import Hypothesis
from lm.lattice import Lattice, confidences
from w2v2cli.data.corpora.catalogue import CorpusSplit, find_splits
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.pipeline import Emitted
from w2v2cli.recognition.recognizer import open_pipeline
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.scoring.error_rate import align

SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
BINS = 10


@dataclass(frozen=True)
class Searched:
    """One segment's best hypothesis and lattice, and which of its words are right."""

    best: Hypothesis
    lattice: Lattice
    right: list[bool]


class Words(NamedTuple):
    """(K,) confidence of each word, and whether it is right."""

    confidence: np.ndarray
    right: np.ndarray


def searched(options: RecognitionOptions, corpora: Sequence[CorpusSplit]) -> Iterator[Searched]:
    """Search the recordings of corpora. Those longer than one segment are left out."""
    said = [u for corpus in corpora for u in corpus.utterances if u.text and not u.start]
    with open_pipeline(options) as pipeline:
        emitted = list(pipeline.emissions([u.path for u in said]))
        futures = [
            pipeline.pool.submit(one.segments[0].emission) if _is_one_segment(one) else None
            for one in emitted
        ]
        for utterance, future in zip(said, futures, strict=True):
            if future is None:
                continue
            [best, *_] = future.result()
            assert best.lattice is not None
            assert utterance.text is not None
            yield Searched(best, best.lattice, right_words(utterance.text, best.text))


def _is_one_segment(emitted: Emitted) -> bool:
    return emitted.error is None and len(emitted.segments) == 1


def right_words(reference: str, hypothesis: str) -> list[bool]:
    """For each word of a hypothesis whether it is aligned with the same word of the reference."""
    return [
        step.operation == "equal"
        for step in align(reference, hypothesis).steps()
        if step.hypothesis
    ]


def by_frames(found: Sequence[Searched]) -> Words:
    """The mean probability of each word's frames."""
    pairs = [
        (word.confidence, right)
        for one in found
        for word, right in zip(one.best.words, one.right, strict=True)
    ]
    return _words(pairs)


def by_lattice(found: Sequence[Searched], scale: float) -> Words:
    """The posterior of each word over its lattice."""
    pairs: list[tuple[float, bool]] = []
    for one in found:
        lattice = one.lattice
        path = [arc for arc in lattice.best_path() if lattice.labels[arc] >= 0]
        words = [
            (
                lattice.words[lattice.labels[arc]],
                int(lattice.times[lattice.starts[arc]]),
                int(lattice.times[lattice.ends[arc]]),
            )
            for arc in path
        ]
        values = confidences(lattice, lattice.posteriors(scale), words)
        pairs += zip(values, one.right, strict=True)
    return _words(pairs)


def _words(pairs: Sequence[tuple[float, bool]]) -> Words:
    values, right = zip(*pairs, strict=True)
    return Words(np.array(values), np.array(right, bool))


def bins(words: Words) -> list[np.ndarray]:
    """For each of ten bins of equal width a mask of the words with such a confidence."""
    place = np.minimum((words.confidence * BINS).astype(int), BINS - 1)
    return [place == i for i in range(BINS)]


def calibration_error(words: Words) -> float:
    """The expected calibration error."""
    gaps = [
        abs(words.confidence[some].sum() - words.right[some].sum())
        for some in bins(words)
        if some.any()
    ]
    return float(sum(gaps)) / len(words.right)


def cross_entropy(words: Words) -> float:
    """The normalised cross entropy."""
    share = words.right.mean()
    known = np.clip(words.confidence, 1e-4, 1 - 1e-4)
    bits = -np.where(words.right, np.log2(known), np.log2(1 - known)).mean()
    prior = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return float((prior - bits) / prior)


def scales_table(found: Sequence[Searched], scales: Sequence[float]) -> tuple[Table, float]:
    """The errors at each scale, and the scale with the least."""
    shown = Table("confidence", "calibration error", "cross entropy", title="corpora to choose by")
    old = by_frames(found)
    shown.add_row("mean of frames", f"{calibration_error(old):.3f}", f"{cross_entropy(old):.2f}")
    errors = {}
    for scale in scales:
        words = by_lattice(found, scale)
        errors[scale] = calibration_error(words)
        row = f"lattice, scale {scale:g}", f"{errors[scale]:.3f}", f"{cross_entropy(words):.2f}"
        shown.add_row(*row)
    return shown, min(errors, key=lambda scale: errors[scale])


def reliability_table(name: str, words: Words) -> Table:
    """Words by confidence, how many of them are right, and the errors of the whole."""
    shown = Table(
        "confidence",
        "words",
        "mean confidence",
        "right",
        title=f"{name}: {len(words.right)} words, {100 * words.right.mean():.1f}% right, "
        f"calibration error {calibration_error(words):.3f}, cross entropy "
        f"{cross_entropy(words):.2f}",
    )
    for i, some in enumerate(bins(words)):
        if some.any():
            shown.add_row(
                f"{i / BINS:.1f} to {(i + 1) / BINS:.1f}",
                str(int(some.sum())),
                f"{words.confidence[some].mean():.2f}",
                f"{words.right[some].mean():.2f}",
            )
    return shown


def corpora(named: Sequence[Path], splits: Sequence[str]) -> list[CorpusSplit]:
    """The corpora that are named, else the splits of the miniature."""
    if named:
        return [corpus for path in named for corpus in find_splits(None, path)]
    shipped = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "corpus"
    return [corpus for split in splits for corpus in find_splits(split, shipped)]


def main() -> None:
    """Choose the scale by some corpora, and show what it is worth on others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lm", default="4gram")
    parser.add_argument("--beam", type=int, default=500)
    parser.add_argument("--lattice-beam", type=float, default=DecodingOptions.lattice_beam)
    parser.add_argument("--choose", type=Path, nargs="+", default=[], metavar="CORPUS")
    parser.add_argument("--test", type=Path, nargs="+", default=[], metavar="CORPUS")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    args = parser.parse_args()
    options = resolve(
        DecodingOptions(
            args.model, lm=args.lm, beam=args.beam, lattice_beam=args.lattice_beam, device="cpu"
        )
    )
    options = replace(options, beam=replace(options.beam, lattice=True))
    console = Console()
    choosing = list(searched(options, corpora(args.choose, ("dev-clean", "dev-other"))))
    shown, scale = scales_table(choosing, args.scales)
    console.print(shown)
    testing = list(searched(options, corpora(args.test, ("test-clean", "test-other"))))
    console.print(reliability_table("mean of frames", by_frames(testing)))
    console.print(reliability_table(f"lattice, scale {scale:g}", by_lattice(testing, scale)))


if __name__ == "__main__":
    main()
