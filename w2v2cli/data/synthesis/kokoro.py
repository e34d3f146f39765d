"""Speech by Kokoro-82M, a neural synthesiser, in hundreds of voices mixed from its own.

The network takes symbols of the International Phonetic Alphabet, which espeak-ng finds, a style
vector and a speed. A style between those of two voices sounds like neither, so a few voices make
many speakers. It serves to make training data; nothing that transcribes needs it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2v2cli.data.resampling import resampled
from w2v2cli.data.synthesis.espeak import SynthesisError, find_espeak, phonemes, speaker_number
from w2v2cli.data.synthesis.kokoro_files import KokoroFiles

if TYPE_CHECKING:
    import onnxruntime

RATE = 24_000  # Hz of what the network makes
BORDER = 0  # the symbol before the first and after the last
ACCENTS = {"a": "en-us", "b": "en-gb"}  # first letter of a voice's name; espeak-ng's language
SLOWEST, FASTEST = 0.8, 1.25  # mean speeds of speakers; 1 is the network's own
# espeak-ng's phonemes and the signs with which the network was trained, in the order of replacement
# (those of misaki, Kokoro's own front end).
SIGNS = {
    "a\u026a": "I",  # aɪ
    "a\u028a": "W",  # aʊ
    "e\u026a": "A",  # eɪ
    "\u0254\u026a": "Y",  # ɔɪ
    "o\u028a": "O",  # oʊ
    "\u0259\u028a": "Q",  # əʊ, British
    "d\u0292": "\u02a4",  # dʒ, one sign
    "t\u0283": "\u02a7",  # tʃ, one sign
    "\u0259l": "\u1d4al",  # əl
    "\u025a": "\u0259\u0279",  # ɚ
    "r": "\u0279",
    "x": "k",
    "\u026c": "l",
    "\u02b2": "",
}
_CLAUSES = re.compile(r"([^,.?!]+)([,.?!])?")


@dataclass(frozen=True)
class KokoroVoice:
    """The voice of one speaker: a mixture of two of Kokoro's."""

    speaker: str
    """Number of the speaker, as LibriSpeech's ids have it."""
    first: str
    """Kokoro's name of the voice that has the larger share, and gives the accent."""
    second: str
    share: float
    """Share of the second voice, 0 to 0.5."""
    speed: float
    """Mean speaking rate; 1 is the network's own."""


class Kokoro:
    """Speakers by a Kokoro network in ONNX. Implements `Synthesizer`."""

    def __init__(self, files: KokoroFiles) -> None:
        """Raises SynthesisError where espeak-ng or onnxruntime is missing, or a file is damaged."""
        check_installed()
        self.files = files
        self._session = _session(files.network)
        inputs = [part.name for part in self._session.get_inputs()]
        # kokoro-onnx names the symbols `tokens`, the export on the hub `input_ids`.
        self._symbols = next((name for name in inputs if name in ("tokens", "input_ids")), None)
        if self._symbols is None or {"style", "speed"} - set(inputs):
            raise SynthesisError(
                f"The network in {files.folder} is not Kokoro: it takes {', '.join(inputs)}."
            )

    def voices(self, count: int, seed: int) -> list[KokoroVoice]:
        """See `Synthesizer`."""
        draw = random.Random(f"kokoro {seed}")
        names = sorted(self.files.styles)
        speakers = []
        for number in range(count):
            first = draw.choice(names)
            second = draw.choice([name for name in names if name != first] or names)
            share = round(draw.uniform(0, 0.5), 5)
            speed = round(draw.uniform(SLOWEST, FASTEST), 3)
            speakers.append(KokoroVoice(speaker_number(seed, number), first, second, share, speed))
        return speakers

    def speak(self, text: str, voice: KokoroVoice, tempo: float) -> np.ndarray:
        """See `Synthesizer`."""
        signs = pronounced(text, ACCENTS[voice.first[0]])
        symbols = [self.files.symbols[sign] for sign in signs if sign in self.files.symbols]
        styles = self.files.styles[voice.first], self.files.styles[voice.second]
        longest = min(map(len, styles))  # a style for each number of symbols
        if not 0 < len(symbols) <= longest:
            raise SynthesisError(
                f"Kokoro reads 1 to {longest} phonemes at a time; {text[:60]!r} has {len(symbols)}."
            )
        row = len(symbols) - 1
        style = (1 - voice.share) * styles[0][row] + voice.share * styles[1][row]
        speed = voice.speed * tempo
        assert self._symbols is not None
        (samples,) = self._session.run(
            None,
            {
                self._symbols: np.array([[BORDER, *symbols, BORDER]], np.int64),
                "style": style[np.newaxis].astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )[:1]
        made = np.asarray(samples, np.float32).ravel()
        if not np.isfinite(made).all() or not len(made):
            raise SynthesisError(f"Kokoro made no sound of {text[:60]!r}.")
        return np.concatenate(list(resampled([made], RATE))).clip(-1, 1)


def pronounced(text: str, language: str, signs: Mapping[str, str] = SIGNS) -> str:
    """A text as Kokoro reads it: its phonemes, with the punctuation that pauses and intones.

    text: words with `,`, `.`, `?` and `!` after clauses. language: espeak-ng's.
    """
    parts = []
    for clause, mark in _CLAUSES.findall(text):
        if clause.strip():
            found = phonemes(clause.strip(), language)
            for sign, other in signs.items():
                found = found.replace(sign, other)
            parts.append(found + mark)
    return " ".join(parts)


def check_installed() -> None:
    """Raise SynthesisError where espeak-ng or onnxruntime is missing."""
    find_espeak()
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError:
        raise SynthesisError(
            "Kokoro runs on onnxruntime, which is not installed: pip install 'w2v2[kokoro]'."
        ) from None


def _session(network: bytes) -> onnxruntime.InferenceSession:
    """The network on one core: utterances run beside each other instead."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors only: it warns of each node that it leaves as it is
    try:
        return onnxruntime.InferenceSession(network, settings, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf) as e:
        raise SynthesisError(f"onnxruntime cannot read Kokoro's network: {e}.") from None
