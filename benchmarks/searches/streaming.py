"""Latency and loss of `w2v2 transcribe --stream` on the shipped model and its held-out recordings.

    python -m benchmarks.searches.streaming [--lm none] [--latency 1 2 3 6 60]

Every recording is a stream of its own. The words are compared with the transcripts, as those of the
plain transcription are. The delay of a word is the sound that had arrived when it became final,
less the end of the word: it says nothing about the machine. What the network and the search take
beside is the last column, in seconds for each second of sound, on this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
from rich.console import Console
from rich.table import Table

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import read_audio
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition.acoustic_model import AcousticModel
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.recognizer import (
    Recognizer,
    load_acoustic_model,
    model_outputs,
)
from w2v2cli.recognition.resolving import RecognitionOptions, resolve
from w2v2cli.recognition.streaming.job import open_live
from w2v2cli.recognition.streaming.listening import Latency, Listener
from w2v2cli.recognition.transcript import TimedWord

CORPUS = Path(__file__).parents[2] / "w2v2cli" / "shipped" / "corpus"
SPLITS = "dev-clean", "test-clean"
CHUNK = SAMPLE_RATE // 50  # samples that arrive at a time


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lm", nargs="+", default=["none", "4gram"], help="language models")
    parser.add_argument("--latency", nargs="+", type=float, default=[1, 2, 3, 6, 60])
    args = parser.parse_args()
    utterances = [utterance for split in SPLITS for utterance in read_corpus(CORPUS / split)]
    sounds = [read_audio(utterance.path) for utterance in utterances]
    table = Table(title=f"{len(utterances)} recordings, {sum(map(len, sounds)) / 16e3:.0f} s")
    for column in ("LM", "latency, s", "WER", "delay, s: median", "95%", "longest", "compute"):
        table.add_column(column, justify="right")
    for lm in args.lm:
        options = resolve(DecodingOptions(lm=lm))
        row = lm, "plain", f"{100 * plain(options, utterances):.1f}"
        print(*row, flush=True)
        table.add_row(*row)
        model = load_acoustic_model(options)
        for seconds in args.latency:
            table.add_row(
                lm, f"{seconds:g}", *measured(options, model, seconds, utterances, sounds)
            )
    Console(width=100).print(table)


def plain(options: RecognitionOptions, utterances: list[Utterance]) -> float:
    """The WER of the plain transcription."""
    with Recognizer(options) as recognizer:
        found = recognizer.transcribe([utterance.path for utterance in utterances])
        return rate(utterances, [transcript.text for transcript in found])


def measured(
    options: RecognitionOptions,
    model: AcousticModel,
    seconds: float,
    utterances: list[Utterance],
    sounds: list[np.ndarray],
) -> list[str]:
    """One row: WER, delays, seconds of computing."""
    outputs = model_outputs(options.model)
    spec = options.search_spec(outputs.labels, outputs.metadata)
    latency = Latency(seconds)
    frame = model.network.config.stride / SAMPLE_RATE
    live = open_live(spec, round(latency.behind / frame), print)
    texts, delays, took = [], [], 0.0
    start = 0.0  # of this recording; the search counts on from one to the next
    for sound in sounds:
        arrived = 0

        def chunks(sound: np.ndarray = sound) -> Iterator[np.ndarray]:
            nonlocal arrived
            for at in range(0, len(sound), CHUNK):
                arrived = min(at + CHUNK, len(sound))
                yield sound[at : at + CHUNK]

        began = time.perf_counter()
        words: list[TimedWord] = []
        for event in Listener(model, live, latency).hear(chunks()):
            words += event.final
            delays += [arrived / SAMPLE_RATE - (word.end - start) for word in event.final]
        took += time.perf_counter() - began
        start += model.network.config.frame_lengths(len(sound)) * frame
        texts.append(" ".join(word.text for word in words))
    heard = sum(map(len, sounds)) / SAMPLE_RATE
    numbers = np.median(delays), np.percentile(delays, 95), max(delays)
    return [
        f"{100 * rate(utterances, texts):.1f}",
        *(f"{number:.2f}" for number in numbers),
        f"{took / heard:.2f}",
    ]


def rate(utterances: list[Utterance], texts: list[str]) -> float:
    """The word error rate over all recordings."""
    return float(jiwer.wer([utterance.text or "" for utterance in utterances], texts))


if __name__ == "__main__":
    main()
