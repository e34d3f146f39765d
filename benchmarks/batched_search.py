"""Batched beam search beside flashlight, on the same simulated emissions in one run.

    python -m benchmarks.batched_search [TRANSCRIPTS.tsv] [--lm ARPA --lexicon FILE] [--beam 1500] [--utterances 64]
        [--at-once 64] [--device cpu|cuda] [--threshold 50] [--json]

Prints times real time of both, and how many utterances have the same words and score (1e-3) in both; those that differ are
listed. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.search import FRAME, TEXTS, VOCABULARY, references, wer
from benchmarks.simulation import Simulation
from lm.batched_ngram import read_automaton
from lm.batched_search import BatchedSearch
from lm.flashlight_search import FlashlightSearch
from lm.hypothesis import BeamOptions, DecodingWeights, Hypothesis
from lm.lexicon import Lexicon
from w2v2cli.data.store import DEMO_LEXICON, DEMO_LM

SAME = 1e-3  # difference in score


def batches(emissions: list[np.ndarray], at_once: int) -> list[tuple[np.ndarray, list[int]]]:
    """(B, T, V) padded batches of neighbours, and the frames in each."""
    made = []
    for begin in range(0, len(emissions), at_once):
        some = emissions[begin : begin + at_once]
        batch = np.zeros((len(some), max(map(len, some)), some[0].shape[1]), np.float32)
        for row, emission in zip(batch, some, strict=True):
            row[: len(emission)] = emission
        made.append((batch, [len(emission) for emission in some]))
    return made


def measured(search: Callable[..., list[list[Hypothesis]]], work: list[tuple[np.ndarray, list[int]]]) -> dict[str, Any]:
    """Seconds after a short first run, and the best hypothesis of each utterance."""
    search(work[0][0][:1, :50], [min(50, work[0][1][0])])  # warm
    began = time.perf_counter()
    found = [hypotheses[0] for batch, lengths in work for hypotheses in search(batch, lengths)]
    return {"seconds": time.perf_counter() - began, "found": found}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both searches over the same emissions."""
    texts = references(args.transcripts, args.utterances)
    emissions = Simulation(VOCABULARY, args.mistaken)(texts)
    audio = sum(map(len, emissions)) * FRAME
    lexicon = Lexicon.read(args.lexicon, VOCABULARY)
    weights, options = DecodingWeights(), BeamOptions(args.beam, None, args.threshold)
    batched = BatchedSearch(VOCABULARY, lexicon, read_automaton(args.lm), weights, options, args.device)
    ours = measured(batched, batches(emissions, args.at_once))
    theirs = measured(FlashlightSearch(VOCABULARY, weights, options, lexicon, args.lm), batches(emissions, 1))
    pairs = list(zip(ours["found"], theirs["found"], strict=True))
    different = [(a, b) for a, b in pairs if a.text != b.text or abs(a.score - b.score) > SAME]
    return {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "utterances": len(texts),
        "at_once": args.at_once,
        "beam": args.beam,
        "threshold": args.threshold,
        "audio_seconds": audio,
        "batched_times_real_time": audio / ours["seconds"],
        "flashlight_times_real_time": audio / theirs["seconds"],
        "same": len(pairs) - len(different),
        "different": [{"batched": [a.text, a.score], "flashlight": [b.text, b.score]} for a, b in different],
        "wer": wer(texts, [hypothesis.text for hypothesis in ours["found"]]),
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transcripts", nargs="?", type=Path, default=TEXTS, help="tab-separated, with a column `text`")
    parser.add_argument("--lm", type=Path, default=DEMO_LM)
    parser.add_argument("--lexicon", type=Path, default=DEMO_LEXICON)
    parser.add_argument("--beam", type=int, default=1500)
    parser.add_argument("--threshold", type=float, default=50.0)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--mistaken", type=float, default=0.05, help="share of symbols that another one beats")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true", help="for scripts")
    args = parser.parse_args()
    found = measure(args)
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:28} {value:.2f}" if isinstance(value, float) else f"{name:28} {value}")


if __name__ == "__main__":
    main()
