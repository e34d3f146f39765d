"""Make synthetic speech for the demo model: flite and espeak-ng read sentences of novels.

    python scripts/synthesize_speech.py BOOKS_DIR OUT_DIR --hours 12

BOOKS_DIR holds `*.txt.gz`, one book each. OUT_DIR receives `ID.flac` (16 kHz, 16 bit) and
`transcripts.tsv`, a layout that `w2v2 finetune` and `w2v2 eval` read. Needs the programs `flite`
and `espeak-ng`. The same seed gives the same sentences, voices and rates.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import read_audio
from w2v2cli.data.synthesis.espeak import speak

# Voice and its share. Fewer of espeak-ng, whose voices are formants; flite's come from recordings.
VOICES = {
    "flite:slt": 0.40,
    "flite:rms": 0.18,
    "flite:awb": 0.14,
    "flite:kal16": 0.08,
    "espeak:en-us": 0.05,
    "espeak:en-us+f2": 0.05,
    "espeak:en-us+f4": 0.05,
    "espeak:en-gb+f3": 0.05,
}
READABLE = re.compile(r"[A-Z][A-Za-z ,;:'’\-]{38,138}[.!?]")
MEAN_SECONDS = 5.5  # mean length of such a sentence


@dataclass(frozen=True)
class Reading:
    """A sentence to read, the voice, and the rate relative to the voice's own."""

    id: str
    text: str
    voice: str
    rate: float


def sentences(books: Path) -> Iterator[str]:
    """Yield sentences of 40 to 140 characters without digits, abbreviations or foreign letters."""
    for path in sorted(books.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            text = " ".join(file.read().split())
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if READABLE.fullmatch(sentence) and not re.search(
                r"\b(Mr|Mrs|Dr|St)\b|[A-Z]{2}", sentence
            ):
                yield sentence


def plan(books: Path, hours: float, seed: int) -> list[Reading]:
    """Draw sentences, voices and rates for so many hours."""
    draw = random.Random(seed)
    pool = sorted(set(sentences(books)))
    chosen = draw.sample(pool, min(len(pool), int(hours * 3600 / MEAN_SECONDS)))
    voices = draw.choices(list(VOICES), list(VOICES.values()), k=len(chosen))
    return [
        Reading(f"synth-{i:05d}", text, voice, round(draw.uniform(0.85, 1.15), 3))
        for i, (text, voice) in enumerate(zip(chosen, voices, strict=True))
    ]


def read_aloud(reading: Reading, out: Path) -> float:
    """Write OUT/ID.flac; returns its length in seconds."""
    engine, voice = reading.voice.split(":")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        text = reading.text.replace("’", "'")
        if engine == "flite":
            stretch = f"duration_stretch={1 / reading.rate:.3f}"
            command = ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(wav)]
            subprocess.run(command, check=True)
            samples = read_audio(wav)
        else:
            samples = speak(text, voice, int(165 * reading.rate))
    soundfile.write(out / f"{reading.id}.flac", samples.clip(-1, 1), SAMPLE_RATE, subtype="PCM_16")
    return len(samples) / SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("books", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    readings = plan(args.books, args.hours, args.seed)
    with (
        ThreadPoolExecutor(2) as pool,
        (args.out / "transcripts.tsv").open("w", encoding="utf-8") as table,
    ):
        table.write("id\tseconds\ttext\n")
        for reading, seconds in zip(
            readings, pool.map(lambda r: read_aloud(r, args.out), readings), strict=True
        ):
            table.write(f"{reading.id}\t{seconds:.3f}\t{reading.text}\n")


if __name__ == "__main__":
    main()
