"""Beam search with a 4-gram: our pool beside one flashlight process, on the same emissions in one run.

    python -m benchmarks.search [TRANSCRIPTS.tsv] [--lm ARPA --lexicon FILE] [--beam 1500] [--workers 2] [--json]

Emissions are simulated from the transcripts (column `text`), at a greedy WER of 10 to 15%. The peer is set up and called as
fairseq's decoder does it: Python loops, one process. Prints medians of the repeats and their ratio; asserts nothing.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.simulation import Simulation
from lm.greedy import greedy_search
from lm.hypothesis import BeamOptions, DecodingWeights
from lm.lexicon import Lexicon
from lm.normalization import normalize_text
from lm.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.data.store import DEMO_LEXICON, DEMO_LM
from w2v2cli.recognition.error_rate import align, total
from w2v2cli.recognition.search_pool import SearchPool
from w2v2cli.recognition.search_server import stderr_closed
from w2v2cli.recognition.search_spec import SearchSpec

TEXTS = Path(__file__).parents[2] / "shared" / "data" / "ljspeech" / "transcripts.tsv"
FRAME = 0.02  # seconds
VOCABULARY = Vocabulary.from_labels(CHARACTERS)

Decoded = list[tuple[str, float]]


@dataclass(frozen=True)
class Measured:
    """What the run came to; seconds are medians."""

    utterances: int
    audio_seconds: float
    lexicon_words: int
    beam: int
    beam_threshold: float
    workers: int
    load_before: float
    """Load average of the machine in the minute before."""
    greedy_wer: float
    wer: float
    peer_setup_seconds: float
    pool_setup_seconds: float
    """From entering the pool to its being ready, start of the process included."""
    peer_seconds: float
    pool_seconds: float
    ratio: float
    identical: int
    """Utterances whose words and score (1e-3) are the same in both."""
    server_mb: float
    worker_mb: float
    """Memory of a worker that it shares with nobody (Linux)."""


class Flashlight:
    """flashlight-text as fairseq's W2lKenLMDecoder sets it up and calls it."""

    def __init__(self, lm: Path, lexicon: Path, weights: DecodingWeights, options: BeamOptions) -> None:
        from flashlight.lib.text import decoder
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import create_word_dict, load_words

        words = load_words(str(lexicon))
        words["<unk>"] = []
        dictionary = create_word_dict(words)
        silence = VOCABULARY.index["|"]
        self.lm = KenLM(str(lm), dictionary)
        trie = decoder.Trie(len(CHARACTERS), silence)
        start = self.lm.start(False)
        for word, spellings in words.items():
            index = dictionary.get_index(word)
            _, score = self.lm.score(start, index)
            for spelling in spellings:
                trie.insert([VOCABULARY.index[symbol] for symbol in spelling], index, score)
        trie.smear(decoder.SmearingMode.MAX)
        self.dictionary = dictionary
        self.decoder = decoder.LexiconDecoder(
            decoder.LexiconDecoderOptions(
                options.beam,
                options.beam_tokens or len(CHARACTERS),
                options.beam_threshold,
                weights.lm_weight,
                weights.word_score,
                weights.unk_score,
                weights.sil_score,
                False,
                decoder.CriterionType.CTC,
            ),
            trie,
            self.lm,
            silence,
            VOCABULARY.blank,
            dictionary.get_index("<unk>"),
            [],
            False,
        )

    def __call__(self, emissions: list[np.ndarray]) -> Decoded:
        """Words and score of each."""
        found = []
        for emission in emissions:
            best = self.decoder.decode(emission.ctypes.data, *emission.shape)[0]
            words = [self.dictionary.get_entry(word) for word in best.words if word >= 0]
            found.append((" ".join(words), best.score))
        return found


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of wall clock, and what came of them."""
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def references(path: Path, count: int) -> list[str]:
    """The first `count` normalised transcripts of 40 to 200 letters."""
    with path.open(encoding="utf-8") as file:
        texts = [normalize_text(row["text"]) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return [text for text in texts if 40 <= len(text) <= 200][:count]


def measure(args: argparse.Namespace) -> Measured:
    """Set both up, and let them take turns."""
    load = os.getloadavg()[0]
    texts = references(args.transcripts, args.utterances)
    emissions = Simulation(VOCABULARY, args.mistaken)(texts)
    options, weights = (
        BeamOptions(args.beam, None, args.beam_threshold),
        DecodingWeights(args.lm_weight, args.word_score),
    )
    with stderr_closed(), tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "lexicon.txt"  # flashlight reads no gzip, and that is not what is measured
        plain.write_bytes(
            gzip.decompress(args.lexicon.read_bytes()) if args.lexicon.suffix == ".gz" else args.lexicon.read_bytes()
        )
        peer_setup, peer = timed(lambda: Flashlight(args.lm, plain, weights, options))
    spec = SearchSpec(CHARACTERS, "flashlight", args.lm, args.lexicon, weights=weights, options=options)
    pool_setups, peer_seconds, pool_seconds = [], [], []
    for _ in range(args.repeats):
        began = time.perf_counter()
        with SearchPool(spec, args.workers) as pool:
            pool.wait_until_ready()
            pool_setups.append(time.perf_counter() - began)
            seconds, hypotheses = timed(lambda: [f.result()[0] for f in [pool.submit(e) for e in emissions]])
            pool_seconds.append(seconds)
            server, workers = private_mb(pool._server.pid), [private_mb(pid) for pid in pool._pids]
        seconds, theirs = timed(lambda: peer(emissions))
        peer_seconds.append(seconds)
    ours = [(hypothesis.text, hypothesis.score) for hypothesis in hypotheses]
    greedy = [greedy_search(e[None], [len(e)], VOCABULARY)[0][0].text for e in emissions]
    return Measured(
        utterances=len(texts),
        audio_seconds=sum(map(len, emissions)) * FRAME,
        lexicon_words=len(Lexicon.read(args.lexicon, VOCABULARY)),
        beam=args.beam,
        beam_threshold=args.beam_threshold,
        workers=args.workers,
        load_before=load,
        greedy_wer=wer(texts, greedy),
        wer=wer(texts, [text for text, _ in ours]),
        peer_setup_seconds=peer_setup,
        pool_setup_seconds=statistics.median(pool_setups),
        peer_seconds=statistics.median(peer_seconds),
        pool_seconds=statistics.median(pool_seconds),
        ratio=statistics.median(peer_seconds) / statistics.median(pool_seconds),
        identical=sum(a[0] == b[0] and abs(a[1] - b[1]) < 1e-3 for a, b in zip(ours, theirs, strict=True)),
        server_mb=server,
        worker_mb=max(workers),
    )


def wer(texts: list[str], found: list[str]) -> float:
    """Word error rate over all utterances."""
    return total(align(text, hypothesis).words for text, hypothesis in zip(texts, found, strict=True)).rate


def private_mb(pid: int) -> float:
    """Memory that a process shares with no other, in MB; 0 where the system does not say."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    if not path.exists():
        return 0.0
    return sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("Private_")) / 1e3


def table(found: Measured) -> Table:
    """For people."""
    shown = Table(
        "", "one flashlight process", f"pool of {found.workers}", "ratio",
        title=f"Beam {found.beam}, threshold {found.beam_threshold:g}, {found.lexicon_words} words, "
        f"{found.utterances} utterances of {found.audio_seconds:.0f} s in all",
    )  # fmt: skip
    shown.add_row("search, s", f"{found.peer_seconds:.2f}", f"{found.pool_seconds:.2f}", f"{found.ratio:.2f}")
    speeds = [found.audio_seconds / seconds for seconds in (found.peer_seconds, found.pool_seconds)]
    shown.add_row("times real time", *(f"{speed:.1f}" for speed in speeds), "")
    setups = found.peer_setup_seconds, found.pool_setup_seconds
    shown.add_row("set-up, s", *(f"{setup:.2f}" for setup in setups), f"{setups[0] / setups[1]:.2f}")
    shown.add_row("WER greedy, %", "", f"{100 * found.greedy_wer:.1f}", "")
    shown.add_row("WER, %", "", f"{100 * found.wer:.1f}", "")
    shown.add_row("identical", "", f"{found.identical} of {found.utterances}", "")
    shown.add_row("private MB: server, worker", "", f"{found.server_mb:.0f}, {found.worker_mb:.0f}", "")
    shown.add_row("load average before", "", f"{found.load_before:.1f}", "")
    return shown


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transcripts", nargs="?", type=Path, default=TEXTS, help="tab-separated, with a column `text`")
    parser.add_argument("--lm", type=Path, default=DEMO_LM)
    parser.add_argument("--lexicon", type=Path, default=DEMO_LEXICON)
    parser.add_argument("--beam", type=int, default=1500)
    parser.add_argument("--beam-threshold", type=float, default=50.0)
    parser.add_argument("--lm-weight", type=float, default=2.0)
    parser.add_argument("--word-score", type=float, default=-1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--utterances", type=int, default=40)
    parser.add_argument("--mistaken", type=float, default=0.02, help="share of symbols that another one beats")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="for scripts")
    args = parser.parse_args()
    found = measure(args)
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
