"""Speech from text by espeak-ng in many voices, as a corpus in LibriSpeech's layout.

It serves tests and first tries. The same text, seed and numbers give the same sentences, voices
and rates; with the same version of espeak-ng they give the same files.
"""

from __future__ import annotations

import gzip
import io
import json
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
from models.config import SAMPLE_RATE
from storage.hashing import bytes_hash
from storage.whole import whole_file, write_whole
from w2v2cli.data.resampling import resampled
from w2v2cli.errors import UsageError, UserError

PROGRAM = "espeak-ng"
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
THROATS = tuple("m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5".split())  # espeak-ng's voice variants
MOST_VOICES = 999
LONGEST = 30  # words of an utterance: about ten seconds
CHAPTER = 100  # utterances of a chapter
NOTE = "synthesis.json"  # records what a folder was made from
_PAUSE = re.compile(r"(?<=[,;:—])\s+")
OnProgress = Callable[[float, float | None], None]  # utterances made, in all


class SynthesisError(UserError):
    """Speech that could not be made."""


@dataclass(frozen=True)
class Voice:
    """The voice of one speaker."""

    speaker: str
    """Number of the speaker, as LibriSpeech's ids have it."""
    name: str
    """espeak-ng's accent and variant."""
    pitch: int
    """0 to 99; 50 is the variant's own."""
    words_per_minute: int
    """Mean speaking rate."""
    loudness: int
    """espeak-ng's amplitude; above 100 it may clip."""


@dataclass(frozen=True)
class Reading:
    """One utterance to be made."""

    id: str
    """SPEAKER-CHAPTER-NUMBER, as in LibriSpeech."""
    voice: Voice
    words_per_minute: int
    """Speaking rate of this utterance."""
    spoken: str
    """Text for espeak-ng: the transcript's words with the pauses of the source text."""
    text: str
    """The transcript."""


def read_text(path: Path) -> str:
    """The content of a UTF-8 text, gzipped if its name ends in .gz. Raises SynthesisError."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            return file.read()
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise SynthesisError(f"{path} is not a complete UTF-8 text: {error}.") from None
    except OSError as error:
        raise SynthesisError(f"{path} cannot be read: {error.strerror or error}.") from None


def draw_voices(count: int, seed: int) -> list[Voice]:
    """Draw `count` different speakers from the seed; a larger count begins with the same ones."""
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
    """The text to speak and the transcript of every sentence of a text.

    A sentence of more than LONGEST words is divided evenly.
    """
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
    """The transcript's words, and nothing else to speak, with the sentence's commas and end."""
    clauses = [clause for clause in map(normalize_text, _PAUSE.split(sentence)) if clause]
    end = next((mark for mark in "?!." if mark in sentence[-3:]), ".")
    return (", ".join(clauses) if " ".join(clauses) == words else words).lower() + end


def plan(text: str, voices: int, utterances: int | None, seed: int) -> list[Reading]:
    """Decide who reads what.

    utterances: how many pieces of the text to draw, all of them before any is drawn again; None
    reads each once. Raises SynthesisError for a text without words.
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
    """The path of espeak-ng. Raises SynthesisError where it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise SynthesisError(
            f"Speech is made by {PROGRAM}, which is not on the PATH: "
            f"install it (apt install {PROGRAM})."
        )
    return program


def speak(
    text: str, voice: str, words_per_minute: int, pitch: int = 50, loudness: int = 100
) -> np.ndarray:
    """Let espeak-ng read a text: (S,) float32, mono, 16 kHz.

    voice, pitch, loudness: see `Voice`. Raises SynthesisError with espeak-ng's own words.
    """
    options = {"-v": voice, "-s": words_per_minute, "-p": pitch, "-a": loudness}
    settings = [str(part) for option in options.items() for part in option]
    command = [find_espeak(), *settings, "--stdin", "--stdout"]
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    try:
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    except soundfile.LibsndfileError:
        samples, rate = np.zeros(0, np.float32), SAMPLE_RATE
    if done.returncode or not len(samples):
        reason = done.stderr.decode(errors="replace").strip() or "it made no sound"
        raise SynthesisError(f"{PROGRAM} cannot read {text[:60]!r} as {voice}: {reason}")
    return np.concatenate(list(resampled([samples], rate))).clip(-1, 1)


def synthesize(
    text: str,
    folder: Path,
    voices: int = 8,
    utterances: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> list[Reading]:
    """Make a corpus: `folder`/SPEAKER/CHAPTER/ID.flac, with a *.trans.txt in each chapter.

    voices: number of speakers.
    utterances: number of utterances; None reads each sentence of the text once.
    seed: decides the voices, the sentences drawn and the speaking rates.
    jobs: processes at a time.
    on_progress: called with the number of utterances made, and of all.

    The same call goes on where an earlier one was interrupted.

    Raises UsageError for numbers out of range, SynthesisError where espeak-ng is missing or fails
    and for a folder that holds something else.
    """
    if not 1 <= voices <= MOST_VOICES:
        raise UsageError(f"--voices takes 1 to {MOST_VOICES}, got {voices}.")
    if utterances is not None and utterances < 1:
        raise UsageError(f"--utterances must be at least 1, got {utterances}.")
    find_espeak()
    readings = plan(text, voices, utterances, seed)
    _claim(folder, readings)
    # Threads suffice: espeak-ng is a process of its own, and encoding releases the interpreter.
    with ThreadPoolExecutor(jobs) as pool:
        for done, _ in enumerate(_made(pool, readings, folder), 1):
            on_progress(done, len(readings))
    _write_transcripts(readings, folder)
    return readings


def _claim(folder: Path, readings: Sequence[Reading]) -> None:
    """Record in an empty folder what it will hold; SynthesisError where it holds something else."""
    content = json.dumps([asdict(reading) for reading in readings]).encode()
    note = {"readings": len(readings), "sha256": bytes_hash(content)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / NOTE).is_file() and json.loads((folder / NOTE).read_text()) == note:
            return
        if any(folder.iterdir()):
            raise SynthesisError(
                f"{folder} is not empty and was not made by the same call: name another folder."
            )
        write_whole(folder / NOTE, json.dumps(note))
    except (OSError, ValueError) as error:
        raise SynthesisError(
            f"{folder} cannot be used: {getattr(error, 'strerror', None) or error}."
        ) from None


def _made(pool: ThreadPoolExecutor, readings: Sequence[Reading], folder: Path) -> Iterator[None]:
    """Make each utterance; when one fails, those that wait are not begun."""
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            soundfile.write(beside, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
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
    try:
        for listing, rows in lines.items():
            write_whole(listing, "".join(rows))
    except OSError as error:
        raise SynthesisError(f"{error.filename} cannot be written: {error.strerror}.") from None
