"""Speech made from text in many voices, as a corpus in LibriSpeech's layout.

The same text, seed and numbers give the same sentences, voices and rates; with the same version of
espeak-ng its voices give the same files.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import soundfile

from lm.text.normalization import normalize_text, sentences
from models.config import SAMPLE_RATE
from storage.hashing import bytes_hash
from storage.json_text import parsed
from storage.whole import whole_file, write_whole
from w2v2cli.data.synthesis.espeak import SynthesisError
from w2v2cli.errors import UsageError

MOST_VOICES = 999
LONGEST = 30  # words of an utterance: about ten seconds
CHAPTER = 100  # utterances of a chapter
NOTE = "synthesis.json"  # records what a folder was made from
_PAUSE = re.compile(r"(?<=[,;:—])\s+")
OnProgress = Callable[[float, float | None], None]  # utterances made, in all


class Voice(Protocol):
    """The voice of one speaker: a frozen dataclass, whose fields decide how it sounds."""

    @property
    def speaker(self) -> str:
        """Number of the speaker, as LibriSpeech's ids have it."""


V = TypeVar("V", bound=Voice)


class Synthesizer(Protocol[V]):
    """What makes speech of text. Threads may share it."""

    def voices(self, count: int, seed: int) -> Sequence[V]:
        """Draw `count` different speakers from the seed; a larger count begins with the same."""

    def speak(self, text: str, voice: V, tempo: float) -> np.ndarray:
        """Read a text: (S,) float32, mono, 16 kHz.

        text: words in small letters with commas between clauses and a mark at the end.
        tempo: speaking rate relative to the voice's own.

        Raises SynthesisError.
        """


@dataclass(frozen=True)
class Reading(Generic[V]):
    """One utterance to be made."""

    id: str
    """SPEAKER-CHAPTER-NUMBER, as in LibriSpeech."""
    voice: V
    tempo: float
    """Speaking rate of this utterance, relative to the voice's own."""
    spoken: str
    """What is read: the transcript's words with the pauses of the source text."""
    text: str
    """The transcript."""


def read_text(path: Path) -> str:
    """The content of a UTF-8 text, gzipped if its name ends in .gz. Raises SynthesisError."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            return file.read()
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise SynthesisError(f"{path} is not a complete UTF-8 text: {error}.") from None
    except OSError as error:
        raise SynthesisError(f"{path} cannot be read: {error.strerror or error}.") from None


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


def plan(text: str, speakers: Sequence[V], utterances: int | None, seed: int) -> list[Reading[V]]:
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
    readings = []
    for number, index in enumerate(chosen[: utterances or len(found)]):
        voice, place = speakers[number % len(speakers)], number // len(speakers)
        tempo = round(draw.uniform(0.92, 1.08), 3)
        name = f"{voice.speaker}-{place // CHAPTER + 1}-{place % CHAPTER:04}"
        readings.append(Reading(name, voice, tempo, *found[index]))
    return readings


def synthesize(
    synthesizer: Synthesizer[V],
    text: str,
    folder: Path,
    voices: int = 8,
    utterances: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> list[Reading[V]]:
    """Make a corpus: `folder`/SPEAKER/CHAPTER/ID.flac, with a *.trans.txt in each chapter.

    voices: number of speakers.
    utterances: number of utterances; None reads each sentence of the text once.
    seed: decides the voices, the sentences drawn and the speaking rates.
    jobs: processes at a time.
    on_progress: called with the number of utterances made, and of all.

    The same call goes on where an earlier one was interrupted.

    Raises UsageError for numbers out of range, SynthesisError where an utterance cannot be made and
    for a folder that holds something else.
    """
    if not 1 <= voices <= MOST_VOICES:
        raise UsageError(f"--voices takes 1 to {MOST_VOICES}, got {voices}.")
    if utterances is not None and utterances < 1:
        raise UsageError(f"--utterances must be at least 1, got {utterances}.")
    readings = plan(text, synthesizer.voices(voices, seed), utterances, seed)
    _claim(folder, readings)
    # Threads suffice: espeak-ng is a process of its own; networks and encoders release the lock.
    with ThreadPoolExecutor(jobs) as pool:
        for done, _ in enumerate(_made(pool, synthesizer, readings, folder), 1):
            on_progress(done, len(readings))
    _write_transcripts(readings, folder)
    return readings


def _claim(folder: Path, readings: Sequence[Reading[Any]]) -> None:
    """Record in an empty folder what it will hold; SynthesisError where it holds something else."""
    content = json.dumps([asdict(reading) for reading in readings]).encode()
    note = {"readings": len(readings), "sha256": bytes_hash(content)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / NOTE).is_file() and parsed((folder / NOTE).read_text()) == note:
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


def _made(
    pool: ThreadPoolExecutor,
    synthesizer: Synthesizer[V],
    readings: Sequence[Reading[V]],
    folder: Path,
) -> Iterator[None]:
    """Make each utterance; when one fails, those that wait are not begun."""
    futures = [pool.submit(_make, synthesizer, r, _path(r, folder)) for r in readings]
    try:
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _make(synthesizer: Synthesizer[V], reading: Reading[V], path: Path) -> None:
    if path.is_file():
        return
    samples = synthesizer.speak(reading.spoken, reading.voice, reading.tempo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            soundfile.write(beside, samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    except (OSError, soundfile.LibsndfileError) as error:
        raise SynthesisError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}."
        ) from None


def _path(reading: Reading[Any], folder: Path) -> Path:
    speaker, chapter, _ = reading.id.split("-")
    return folder / speaker / chapter / f"{reading.id}.flac"


def _write_transcripts(readings: Sequence[Reading[Any]], folder: Path) -> None:
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
