"""Speech and phonemes of English text by espeak-ng."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from models.config import SAMPLE_RATE
from w2v2cli.data.resampling import resampled
from w2v2cli.errors import UserError

PROGRAM = "espeak-ng"
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
THROATS = tuple("m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5".split())  # espeak-ng's voice variants


class SynthesisError(UserError):
    """Speech that could not be made."""


@dataclass(frozen=True)
class EspeakVoice:
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


class Espeak:
    """Speakers by the formant voices of espeak-ng. Implements `Synthesizer`."""

    def __init__(self) -> None:
        """Raises SynthesisError where espeak-ng is not installed."""
        find_espeak()

    def voices(self, count: int, seed: int) -> list[EspeakVoice]:
        """See `Synthesizer`."""
        draw = random.Random(f"voices {seed}")
        names = [f"{accent}+{throat}" for accent in ACCENTS for throat in THROATS]
        draw.shuffle(names)
        return [
            EspeakVoice(
                speaker_number(seed, number),
                names[number % len(names)],
                draw.randint(30, 70),
                draw.randint(130, 190),
                draw.randint(50, 100),
            )
            for number in range(count)
        ]

    def speak(self, text: str, voice: EspeakVoice, tempo: float) -> np.ndarray:
        """See `Synthesizer`."""
        rate = round(voice.words_per_minute * tempo)
        return speak(text, voice.name, rate, voice.pitch, voice.loudness)


def speaker_number(seed: int, number: int) -> str:
    """The number of a speaker in LibriSpeech's ids; those of different seeds differ."""
    return f"{seed % 1000 + 1}{number:03}"


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

    voice, pitch, loudness: see `EspeakVoice`. Raises SynthesisError with espeak-ng's own words.
    """
    options = {"-v": voice, "-s": words_per_minute, "-p": pitch, "-a": loudness}
    settings = [str(part) for option in options.items() for part in option]
    done = _run([*settings, "--stdout"], text)
    try:
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    except soundfile.LibsndfileError:
        samples, rate = np.zeros(0, np.float32), SAMPLE_RATE
    if done.returncode or not len(samples):
        raise _failed(done, f"read {text[:60]!r} as {voice}", "it made no sound")
    return np.concatenate(list(resampled([samples], rate))).clip(-1, 1)


def phonemes(text: str, voice: str) -> str:
    """How espeak-ng pronounces a text without punctuation, in the International Phonetic Alphabet.

    Raises SynthesisError with espeak-ng's own words.
    """
    done = _run(["-v", voice, "-q", "--ipa"], text)
    found = " ".join(done.stdout.decode(errors="replace").split())
    if done.returncode or not found:
        raise _failed(done, f"pronounce {text[:60]!r} as {voice}", "it named no phonemes")
    return found


def _run(options: Sequence[str], text: str) -> subprocess.CompletedProcess[bytes]:
    command = [find_espeak(), *options, "--stdin"]
    return subprocess.run(command, input=text.encode(), capture_output=True)


def _failed(
    done: subprocess.CompletedProcess[bytes], action: str, otherwise: str
) -> SynthesisError:
    reason = done.stderr.decode(errors="replace").strip() or otherwise
    return SynthesisError(f"{PROGRAM} cannot {action}: {reason}")
