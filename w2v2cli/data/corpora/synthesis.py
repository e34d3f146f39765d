"""Speech from text by espeak-ng, in many voices, as a corpus in LibriSpeech's layout: for tests and first tries.

The same text, seed and numbers give the same sentences, voices and rates; with the same espeak-ng the same files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from lm.text.normalization import normalize_text, sentences
from w2v2cli.data.resampling import SAMPLE_RATE, resampled
from w2v2cli.errors import UsageError, UserError

PROGRAM = "espeak-ng"
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
THROATS = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
)  # espeak-ng's variants
MOST_VOICES = 999
LONGEST = 30  # words read at once: about ten seconds
CHAPTER = 100  # utterances
NOTE = "synthesis.json"  # what a folder was made from
_PAUSE = re.compile(r"(?<=[,;:—])\s+")
Progress = Callable[[float, float | None], None]


class SynthesisError(UserError):
    """Speech that could not be made."""


@dataclass(frozen=True)
class Voice:
    """How one speaker speaks."""

    speaker: str
    name: str
    """espeak-ng's accent and variant."""
    pitch: int
    """0 to 99, 50 is the variant's own."""
    words_per_minute: int
    loudness: int
    """espeak-ng's amplitude; above 100 it may clip."""


@dataclass(frozen=True)
class Reading:
    """One utterance to be made."""

    id: str
    voice: Voice
    words_per_minute: int
    spoken: str
    """With the pauses of the text."""
    text: str
    """The transcript."""


def read_text(path: Path) -> str:
    """A UTF-8 text, gzip by name; SynthesisError when it is none."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            return file.read()
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise SynthesisError(f"{path} is no whole UTF-8 text: {error}.") from None
    except OSError as error:
        raise SynthesisError(f"{path} cannot be read: {error.strerror or error}.") from None


def draw_voices(count: int, seed: int) -> list[Voice]:
    """So many speakers, no two alike; the same for the same seed, and the first of more are those of fewer."""
    draw = random.Random(f"voices {seed}")
    names = [f"{accent}+{throat}" for accent in ACCENTS for throat in THROATS]
    draw.shuffle(names)
    return [
        Voice(
            f"{seed % 1000 + 1}{number:03}",
            names[number % len(names)],
            draw.randint(30, 70),
            draw.randint(130, 190),
            draw.randint(50, 100),
        )
        for number in range(count)
    ]


def pieces(text: str) -> list[tuple[str, str]]:
    """What is read, with its transcript, for every sentence of a text; sentences of more than LONGEST words in parts."""
    found = []
    for sentence in sentences(text):
        words = normalize_text(sentence)
        if not words:
            continue
        if len(words.split()) <= LONGEST:
            found.append((_with_pauses(sentence, words), words))
            continue
        split = words.split()
        parts = -(-len(split) // LONGEST)
        borders = [len(split) * i // parts for i in range(parts + 1)]
        joined = (" ".join(split[a:b]) for a, b in zip(borders, borders[1:], strict=False))
        found += [(part.lower(), part) for part in joined]
    return found


def _with_pauses(sentence: str, words: str) -> str:
    """The words of the transcript, so that nothing else is spoken, with the sentence's commas and its end."""
    clauses = [clause for clause in map(normalize_text, _PAUSE.split(sentence)) if clause]
    end = next((mark for mark in "?!." if mark in sentence[-3:]), ".")
    return (", ".join(clauses) if " ".join(clauses) == words else words).lower() + end


def plan(text: str, voices: int, utterances: int | None, seed: int) -> list[Reading]:
    """Who reads what: every piece of the text once, or `utterances` of them drawn, again from the start when they end.

    SynthesisError for a text without words.
    """
    found = pieces(text)
    if not found:
        raise SynthesisError("The text holds no words to read.")
    draw = random.Random(f"readings {seed}")
    chosen: list[int] = []
    while len(chosen) < (utterances or len(found)):
        chosen += draw.sample(range(len(found)), len(found))
    speakers = draw_voices(voices, seed)
    readings = []
    for number, index in enumerate(chosen[: utterances or len(found)]):
        voice, place = speakers[number % voices], number // voices
        rate = round(voice.words_per_minute * draw.uniform(0.92, 1.08))
        name = f"{voice.speaker}-{place // CHAPTER + 1}-{place % CHAPTER:04}"
        readings.append(Reading(name, voice, rate, *found[index]))
    return readings


def find_espeak() -> str:
    """The program's path; SynthesisError where there is none."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise SynthesisError(
            f"Speech is made by {PROGRAM}, which is not on the PATH: install it (apt install {PROGRAM})."
        )
    return program


def speak(
    text: str, voice: str, words_per_minute: int, pitch: int = 50, loudness: int = 100
) -> np.ndarray:
    """A text as espeak-ng reads it: (S,) float32 at 16 kHz. SynthesisError in its words when it does not."""
    command = [
        find_espeak(),
        "-v",
        voice,
        "-s",
        str(words_per_minute),
        "-p",
        str(pitch),
        "-a",
        str(loudness),
    ]
    done = subprocess.run(
        [*command, "--stdin", "--stdout"], input=text.encode(), capture_output=True
    )
    try:
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    except soundfile.LibsndfileError:
        samples, rate = np.zeros(0, np.float32), SAMPLE_RATE
    if done.returncode or not len(samples):
        said = done.stderr.decode(errors="replace").strip() or "it made no sound"
        raise SynthesisError(f"{PROGRAM} cannot read {text[:60]!r} as {voice}: {said}")
    return np.concatenate(list(resampled([samples], rate))).clip(-1, 1)


def synthesize(
    text: str,
    folder: Path,
    voices: int = 8,
    utterances: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[Reading]:
    """Make a corpus: `folder`/SPEAKER/CHAPTER/ID.flac with their *.trans.txt. A second call of the same kind does the rest.

    UsageError for numbers that make no corpus, SynthesisError when espeak-ng is missing or fails, and for a folder that
    holds something else.
    """
    if not 1 <= voices <= MOST_VOICES:
        raise UsageError(f"--voices takes 1 to {MOST_VOICES}, got {voices}.")
    if utterances is not None and utterances < 1:
        raise UsageError(f"--utterances must be at least 1, got {utterances}.")
    find_espeak()
    readings = plan(text, voices, utterances, seed)
    _claim(folder, readings)
    with ThreadPoolExecutor(
        jobs
    ) as pool:  # espeak-ng is a process of its own, and the rest leaves the lock
        for done, _ in enumerate(_made(pool, readings, folder), 1):
            progress(done, len(readings))
    _write_transcripts(readings, folder)
    return readings


def _claim(folder: Path, readings: Sequence[Reading]) -> None:
    """Note in an empty folder what will be made there; SynthesisError when it holds something else."""
    content = json.dumps([asdict(reading) for reading in readings]).encode()
    note = {"readings": len(readings), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / NOTE).is_file() and json.loads((folder / NOTE).read_text()) == note:
            return
        if any(folder.iterdir()):
            raise SynthesisError(
                f"{folder} is not empty and was not made by the same call: name another folder."
            )
        (folder / NOTE).write_text(json.dumps(note))
    except (OSError, ValueError) as error:
        raise SynthesisError(
            f"{folder} cannot be used: {getattr(error, 'strerror', None) or error}."
        ) from None


def _made(pool: ThreadPoolExecutor, readings: Sequence[Reading], folder: Path) -> Iterator[None]:
    """Each in turn; when one fails, those that nobody began are not begun."""
    futures = [pool.submit(_make, reading, _path(reading, folder)) for reading in readings]
    try:
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _make(reading: Reading, path: Path) -> None:
    if path.is_file():
        return
    voice = reading.voice
    samples = speak(
        reading.spoken, voice.name, reading.words_per_minute, voice.pitch, voice.loudness
    )
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(beside, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
        os.replace(beside, path)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SynthesisError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}."
        ) from None


def _path(reading: Reading, folder: Path) -> Path:
    speaker, chapter, _ = reading.id.split("-")
    return folder / speaker / chapter / f"{reading.id}.flac"


def _write_transcripts(readings: Sequence[Reading], folder: Path) -> None:
    lines: dict[Path, list[str]] = {}
    for reading in readings:
        speaker, chapter, _ = reading.id.split("-")
        listing = folder / speaker / chapter / f"{speaker}-{chapter}.trans.txt"
        lines.setdefault(listing, []).append(f"{reading.id} {reading.text}\n")
    for listing, rows in lines.items():
        listing.write_text("".join(rows), encoding="utf-8")
