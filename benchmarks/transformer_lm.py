"""The word Transformer in a beam search: our batched histories beside one history at a time, random weights, one run.

    python -m benchmarks.transformer_lm [TRANSCRIPTS.tsv] [--preset paper] [--beam 50] [--device cuda] [--json]

A flashlight search with a 4-gram over simulated emissions writes down, frame by frame, which words it asks for after
which histories; both sides answer exactly these questions. Ours: all of a frame's in one call,
the utterances side by side, the histories of the beams told as a search would. The peer works as fairseq's decoder does:
for each distinct history one forward over all of its words, and the probabilities of the whole vocabulary at each of
them; those of a history it has seen it keeps. It is given a sample of the histories, and its seconds are extrapolated
from them (--peer-histories 0: all). Prints both and their ratio; asserts that they agree.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.search_inputs import FRAME, TEXTS, VOCABULARY, references
from benchmarks.simulation import Simulation
from lm.ngram.arpa import read_ngrams
from lm.ngram.kenlm import NgramLM
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import CHARACTERS
from lm.transformer.config import PRESETS
from lm.transformer.dictionary import END, SPECIALS, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork
from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM

History = tuple[int, ...]
Question = tuple[History, int]
"""A history, and the number of the word that may follow; -1 for the end."""


@dataclass(frozen=True)
class Frame:
    """What a search asks at once, and the histories that are in its beam after it."""

    questions: list[Question]
    alive: set[History]


CLOSE = 1e-3  # in which both must agree, natural log


@dataclass(frozen=True)
class Measured:
    """What the run came to; counts and seconds are means for one utterance where nothing else is said."""

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
    """Questions of an utterance."""
    distinct: float
    """Distinct pairs of a history and a word among them."""
    histories: float
    """Distinct histories that must be computed."""
    mean_history: float
    """Words of a history, its beginning included."""
    computed: float
    """Histories that ours computed, those included that were only expected to be asked for."""
    forwards: int
    """Batched forwards of ours, for all utterances together."""
    seconds: float
    peer_measured: int
    """Histories that the peer really computed, in all utterances."""
    peer_seconds: float
    ratio: float
    largest_difference: float
    cache_mb: float


def trace(texts: list[str], args: argparse.Namespace, words: Sequence[str]) -> list[list[Frame]]:
    """For each utterance and frame, what a search with the 4-gram asks, in the numbers of `words`."""
    from flashlight.lib.text import decoder

    model = NgramLM(args.lm, words)
    lexicon = Lexicon.read(args.lexicon, VOCABULARY)
    numbers = {word: number for number, word in enumerate(words)}
    asked: list[Question] = []

    class Writing(decoder.LM):  # type: ignore[misc]
        """The 4-gram, which writes down what it is asked."""

        def start(self, start_with_nothing: bool) -> Any:
            root = decoder.LMState()
            self.known = {root: ((), model.start()[0])}
            return root

        def score(self, state: Any, word: int) -> tuple[Any, float]:
            history, inner = self.known[state]
            asked.append((history, word))
            scores, after = model.score([inner], [word])
            child = state.child(word)
            self.known.setdefault(child, ((*history, word), after[0]))
            return child, float(scores[0])

        def finish(self, state: Any) -> tuple[Any, float]:
            history, inner = self.known[state]
            asked.append((history, -1))
            return state.child(-1), float(model.finish([inner])[0])

    writing = Writing()
    trie = decoder.Trie(len(CHARACTERS), VOCABULARY.index["|"])
    begin = model.start()
    for word, spellings in lexicon.spellings.items():
        score = float(model.score(begin, [numbers[word]])[0][0])
        for spelling in spellings:
            trie.insert(list(spelling), numbers[word], score)
    trie.smear(decoder.SmearingMode.MAX)
    options = decoder.LexiconDecoderOptions(
        args.beam, len(CHARACTERS), 50.0, 2.0, -1.0, -np.inf, 0.0, False, decoder.CriterionType.CTC
    )
    search = decoder.LexiconDecoder(
        options, trie, writing, VOCABULARY.index["|"], VOCABULARY.blank, len(words), [], False
    )
    utterances = []
    for emission in Simulation(VOCABULARY, args.mistaken)(texts):
        search.decode_begin()
        frames = []
        for row in emission:
            search.decode_step(np.ascontiguousarray(row).ctypes.data, 1, len(row))
            alive = {
                tuple(w for w in found.words if w >= 0)
                for found in search.get_all_final_hypothesis()
            }
            frames.append(Frame(list(asked), alive))
            asked.clear()
        search.decode_end()
        frames.append(Frame(list(asked), set()))
        asked.clear()
        utterances.append([frame for frame in frames if frame.questions])
    return utterances


def ours(
    model: TransformerLM, utterances: list[list[Frame]]
) -> tuple[float, list[dict[Question, float]]]:
    """Seconds, and the answers to each utterance's questions; all utterances ask together, frame by frame.

    A search holds the states of its hypotheses, so finding them here is not timed.
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
        before, words = (
            [states[i][history] for i, history, _ in middle],
            [word for *_, word in middle],
        )
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
    """Seconds, and the (V,) log-probabilities after each history, each from a forward of its own."""
    found = []
    began = time.perf_counter()
    for history in histories:
        tokens = torch.tensor([[END, *(word + len(SPECIALS) for word in history)]], device=device)
        log_probs = network.softmax.log_probs(
            network(tokens)[0]
        )  # at every word, as fairseq has it
        found.append(log_probs[-1].cpu().numpy())
    return time.perf_counter() - began, found


def measure(args: argparse.Namespace) -> Measured:
    """Trace, build, and let both answer, utterance by utterance."""
    load = os.getloadavg()[0]
    words = vocabulary(args.lm, args.lexicon, args.vocabulary - len(SPECIALS))
    texts = references(args.transcripts, args.utterances)
    utterances = trace(texts, args, words)
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
        # Forwards of longer histories take longer: in proportion to words, and not to histories.
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
        audio_seconds=sum(map(len, Simulation(VOCABULARY, args.mistaken)(texts))) * FRAME,
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
    """Between the peer's log-probabilities and our answers, over all that was asked after these histories."""
    row = dict(zip(histories, theirs, strict=True))
    pairs = [
        (score, float(row[history][END if word < 0 else word + len(SPECIALS)]))
        for (history, word), score in ours.items()
        if history in row
    ]
    return max(abs(a - b) for a, b in pairs)


def words_of(histories: list[History]) -> int:
    """Words of all histories, the beginning of each included."""
    return sum(len(history) + 1 for history in histories)


def vocabulary(arpa: Path, lexicon: Path, size: int) -> list[str]:
    """The lexicon's words, the likeliest first, and made-up ones up to `size`: bands of the softmax cut by frequency."""
    unigrams = takewhile(lambda ngram: len(ngram[1]) == 1, read_ngrams(arpa))
    likely = {words[0]: log_prob for log_prob, words, _ in unigrams}
    with gzip.open(lexicon, "rt") if lexicon.suffix == ".gz" else lexicon.open() as file:
        spelled = list(dict.fromkeys(line.split("\t")[0].strip() for line in file if line.strip()))
    ranked = sorted(spelled, key=lambda word: -likely.get(word, -99.0))
    if len(ranked) > size:
        raise SystemExit(
            f"--vocabulary must be at least {len(ranked) + len(SPECIALS)}, the words of the lexicon."
        )
    return [*ranked, *(f"MADE UP {number}" for number in range(size - len(ranked)))]


def table(found: Measured) -> Table:
    """For people."""
    shown = Table(
        "an utterance", "one history at a time", "batched", "ratio",
        title=f"{found.preset}: {found.parameters_millions:.0f} M parameters, {found.vocabulary} words, {found.dtype} on "
        f"{found.device} ({found.threads} threads); beam {found.beam}, {found.utterances} utterances of "
        f"{found.audio_seconds:.0f} s in all",
    )  # fmt: skip
    shown.add_row("asked, distinct", "", f"{found.asked:.0f}, {found.distinct:.0f}", "")
    shown.add_row(
        "distinct histories", f"{found.histories:.0f}", f"{found.computed:.0f} computed", ""
    )
    shown.add_row("words of a history", f"{found.mean_history:.1f}", "", "")
    total = found.histories * found.utterances
    shown.add_row("forwards, of all utterances", f"{total:.0f}", f"{found.forwards}", "")
    shown.add_row(
        "seconds", f"{found.peer_seconds:.2f}", f"{found.seconds:.2f}", f"{found.ratio:.1f}"
    )
    shown.add_row("histories it really computed", f"{found.peer_measured}", "all", "")
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
        "--vocabulary", type=int, default=220_000, help="words, with those that nobody says"
    )
    parser.add_argument(
        "--lm", type=Path, default=DEMO_LM, help="the 4-gram that the search is traced with"
    )
    parser.add_argument("--lexicon", type=Path, default=DEMO_LEXICON)
    parser.add_argument("--beam", type=int, default=50)
    parser.add_argument("--utterances", type=int, default=3)
    parser.add_argument(
        "--mistaken", type=float, default=0.02, help="share of symbols that another one beats"
    )
    parser.add_argument(
        "--peer-histories", type=int, default=30, help="of each utterance; 0 for all"
    )
    parser.add_argument("--cache-gb", type=float, default=4.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--json", action="store_true", help="for scripts")
    args = parser.parse_args()
    found = measure(args)
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
