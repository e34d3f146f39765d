"""The word Transformer in a beam search: batched histories beside one history at a time.

    python -m benchmarks.transformer_lm [TRANSCRIPTS.tsv] [--preset paper] [--beam 50]
        [--device cuda] [--json]

A flashlight search with a 4-gram over simulated emissions records, frame by frame, for which words
it asks after which histories. Both contenders answer exactly these questions, with the same random
weights. Ours answers all questions of a frame in one call, the utterances side by side, and is
told the histories of the beams as in a search. The peer works as fairseq's decoder does: one
forward for each distinct history, over all of its words, with the probabilities of the whole
vocabulary at each of them; it caches the histories it has seen. It computes a sample of the
histories, and its seconds are extrapolated (--peer-histories 0: all). Prints both and their ratio;
asserts that they agree.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from dataclasses import asdict, dataclass
from itertools import takewhile, zip_longest
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.searches.inputs import FRAME, TEXTS, VOCABULARY, references
from benchmarks.searches.questions import Frame, History, Question, trace
from benchmarks.searches.simulation import Simulation
from lm.ngram.arpa import read_ngrams
from lm.transformer.config import PRESETS
from lm.transformer.dictionary import END, SPECIALS, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork
from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM

CLOSE = 1e-3  # largest difference allowed in a log-probability


@dataclass(frozen=True)
class Measured:
    """Results of the run; counts and seconds are means of an utterance unless stated otherwise."""

    preset: str
    parameters_millions: float
    vocabulary: int
    device: str
    dtype: str
    threads: int
    beam: int
    utterances: int
    audio_seconds: float
    load_before: float
    """Load average of the machine in the minute before."""
    asked: float
    """Questions of the search."""
    distinct: float
    """Distinct pairs of a history and a word among them."""
    histories: float
    """Distinct histories that must be computed."""
    mean_history: float
    """Words in a history, the token of the beginning included."""
    computed: float
    """Histories that ours computed, also those that were expected and then not asked for."""
    forwards: int
    """Batched forward passes of ours, for all utterances together."""
    seconds: float
    peer_measured: int
    """Histories that the peer computed, in all utterances."""
    peer_seconds: float
    ratio: float
    largest_difference: float
    cache_mb: float


def ours(
    model: TransformerLM, utterances: list[list[Frame]]
) -> tuple[float, list[dict[Question, float]]]:
    """Answer all questions, those of a frame of all utterances in one call.

    Returns the seconds, and the answers of each utterance. The time to look states up is not
    counted, because a search holds the states of its hypotheses.
    """
    states: list[dict[History, int]] = [{(): model.start()[0]} for _ in utterances]
    answers: list[dict[Question, float]] = [{} for _ in utterances]
    seconds = 0.0
    for frames in zip_longest(*utterances, fillvalue=Frame([], set())):
        asked = [
            (i, history, word)
            for i, frame in enumerate(frames)
            for history, word in frame.questions
        ]
        middle, ends = [row for row in asked if row[2] >= 0], [row for row in asked if row[2] < 0]
        before = [states[i][history] for i, history, _ in middle]
        words = [word for *_, word in middle]
        last = [states[i][history] for i, history, _ in ends]
        began = time.perf_counter()
        scores, after = model.score(before, words)
        finals = model.finish(last)
        seconds += time.perf_counter() - began
        for (i, history, word), score, state in zip(middle, scores, after, strict=True):
            states[i][(*history, word)], answers[i][history, word] = state, float(score)
        for (i, history, word), score in zip(ends, finals, strict=True):
            answers[i][history, word] = float(score)
        alive = [states[i][history] for i, frame in enumerate(frames) for history in frame.alive]
        began = time.perf_counter()
        model.expect(alive)
        seconds += time.perf_counter() - began
    return seconds, answers


@torch.no_grad()
def peer(
    network: TransformerNetwork, histories: list[History], device: torch.device
) -> tuple[float, list[np.ndarray]]:
    """Compute each history in a forward pass of its own.

    Returns the seconds, and the log-probabilities (V,) after each history.
    """
    found = []
    began = time.perf_counter()
    for history in histories:
        tokens = torch.tensor([[END, *(word + len(SPECIALS) for word in history)]], device=device)
        log_probs = network.softmax.log_probs(network(tokens)[0])  # at every word, like fairseq
        found.append(log_probs[-1].cpu().numpy())
    return time.perf_counter() - began, found


def measure(args: argparse.Namespace) -> Measured:
    """Record the questions, build the networks, and let both answer."""
    load = os.getloadavg()[0]
    words = vocabulary(args.lm, args.lexicon, args.vocabulary - len(SPECIALS))
    texts = references(args.transcripts, args.utterances)
    emissions = Simulation(VOCABULARY, args.mistaken)(texts)
    utterances = trace(emissions, args.lm, args.lexicon, words, args.beam)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    torch.manual_seed(0)
    network = (
        TransformerNetwork(PRESETS[args.preset](args.vocabulary)).initialize().to(device, dtype)
    )
    network.requires_grad_(False)
    model = TransformerLM(network, Dictionary((*SPECIALS, *words)), cache_gb=args.cache_gb)
    ours(model, [frames[:1] for frames in utterances])  # warm-up
    peer(network, [()], device)
    model.retain()
    forwards, rows = model.forwards, model.rows
    taken, answers = ours(model, utterances)
    forwards, rows = model.forwards - forwards, model.rows - rows
    peer_seconds, measured, difference = 0.0, 0, 0.0
    histories = [sorted({history for history, _ in found}) for found in answers]
    for different, found in zip(histories, answers, strict=True):
        sample = different[:: max(1, -(-len(different) // (args.peer_histories or len(different))))]
        spent, theirs = peer(network, sample, device)
        difference = max(difference, largest_difference(sample, theirs, found))
        # The time of a forward pass grows with its words, so words extrapolate and not histories.
        peer_seconds += spent * words_of(different) / words_of(sample)
        measured += len(sample)
    count = len(utterances)
    assert args.dtype != "float32" or difference < CLOSE, f"The answers differ by {difference}."
    return Measured(
        preset=args.preset,
        parameters_millions=sum(weight.numel() for weight in network.parameters()) / 1e6,
        vocabulary=args.vocabulary,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        dtype=args.dtype,
        threads=torch.get_num_threads(),
        beam=args.beam,
        utterances=len(utterances),
        audio_seconds=sum(map(len, emissions)) * FRAME,
        load_before=load,
        asked=sum(len(frame.questions) for frames in utterances for frame in frames) / count,
        distinct=sum(map(len, answers)) / count,
        histories=sum(map(len, histories)) / count,
        mean_history=sum(map(words_of, histories)) / sum(map(len, histories)),
        computed=rows / count,
        forwards=forwards,
        seconds=taken / count,
        peer_measured=measured,
        peer_seconds=peer_seconds / count,
        ratio=peer_seconds / taken,
        largest_difference=difference,
        cache_mb=model.cache_bytes / 1e6,
    )


def largest_difference(
    histories: list[History], theirs: list[np.ndarray], ours: dict[Question, float]
) -> float:
    """Largest difference between our answers and the peer's, over the questions of `histories`."""
    row = dict(zip(histories, theirs, strict=True))
    pairs = [
        (score, float(row[history][END if word < 0 else word + len(SPECIALS)]))
        for (history, word), score in ours.items()
        if history in row
    ]
    return max(abs(a - b) for a, b in pairs)


def words_of(histories: list[History]) -> int:
    """Words of all histories, the token of the beginning of each included."""
    return sum(len(history) + 1 for history in histories)


def vocabulary(arpa: Path, lexicon: Path, size: int) -> list[str]:
    """Return the words of the lexicon, the likeliest first, and made-up ones up to `size`.

    The order matters because the bands of the softmax are cut by frequency.
    """
    unigrams = takewhile(lambda ngram: len(ngram[1]) == 1, read_ngrams(arpa))
    likely = {words[0]: log_prob for log_prob, words, _ in unigrams}
    with gzip.open(lexicon, "rt") if lexicon.suffix == ".gz" else lexicon.open() as file:
        spelled = list(dict.fromkeys(line.split("\t")[0].strip() for line in file if line.strip()))
    ranked = sorted(spelled, key=lambda word: -likely.get(word, -99.0))
    if len(ranked) > size:
        raise SystemExit(
            f"--vocabulary must be at least {len(ranked) + len(SPECIALS)} for this lexicon."
        )
    return [*ranked, *(f"MADE UP {number}" for number in range(size - len(ranked)))]


def table(found: Measured) -> Table:
    """Lay the results out as a table."""
    title = (
        f"{found.preset}: {found.parameters_millions:.0f} M parameters, {found.vocabulary} words, "
        f"{found.dtype} on {found.device} ({found.threads} threads); beam {found.beam}, "
        f"{found.utterances} utterances of {found.audio_seconds:.0f} s in all"
    )
    shown = Table("an utterance", "one history at a time", "batched", "ratio", title=title)
    shown.add_row("asked, distinct", "", f"{found.asked:.0f}, {found.distinct:.0f}", "")
    shown.add_row(
        "distinct histories", f"{found.histories:.0f}", f"{found.computed:.0f} computed", ""
    )
    shown.add_row("words of a history", f"{found.mean_history:.1f}", "", "")
    total = found.histories * found.utterances
    shown.add_row("forward passes, all utterances", f"{total:.0f}", f"{found.forwards}", "")
    shown.add_row(
        "seconds", f"{found.peer_seconds:.2f}", f"{found.seconds:.2f}", f"{found.ratio:.1f}"
    )
    shown.add_row("histories computed, all utterances", f"{found.peer_measured}", "all", "")
    shown.add_row("largest difference", "", f"{found.largest_difference:.1e}", "")
    shown.add_row("cache, MB", "", f"{found.cache_mb:.0f}", "")
    shown.add_row("load average before", "", f"{found.load_before:.1f}", "")
    return shown


def main() -> None:
    """Read the command line, measure, print."""
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
    parser.add_argument("--preset", choices=sorted(PRESETS), default="paper")
    parser.add_argument(
        "--vocabulary", type=int, default=220_000, help="words, made-up ones included"
    )
    parser.add_argument(
        "--lm", type=Path, default=DEMO_LM, help="4-gram of the search whose questions are recorded"
    )
    parser.add_argument("--lexicon", type=Path, default=DEMO_LEXICON)
    parser.add_argument("--beam", type=int, default=50)
    parser.add_argument("--utterances", type=int, default=3)
    parser.add_argument(
        "--mistaken", type=float, default=0.02, help="share of symbols where another symbol wins"
    )
    parser.add_argument(
        "--peer-histories",
        type=int,
        default=30,
        help="histories of each utterance that the peer computes; 0 for all",
    )
    parser.add_argument("--cache-gb", type=float, default=4.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    found = measure(args)
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
