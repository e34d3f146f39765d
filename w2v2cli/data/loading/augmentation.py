"""Recordings made as varied as people's are: rooms, noise, loudness and telephones.

A training hears each recording in another room or on another line in every epoch. Nothing here
changes the length of a recording, nor moves a word by more than a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from models.config import SAMPLE_RATE

NOISE_LEVELS = (5.0, 30.0)  # dB of speech over noise
NOISE_SLOPES = (0.0, 2.0)  # power falls as frequency to this: white, pink, brown
REVERBERATION = (0.1, 0.7)  # seconds in which a room's sound falls by 60 dB
DIRECT = (-3.0, 12.0)  # dB of the direct sound over the room's
TELEPHONE_BAND = (300.0, 3400.0)  # Hz
MU = 255  # of the telephone's 8 bits, mu-law (ITU-T G.711)


@dataclass(frozen=True)
class Augmentation:
    """How often a recording is changed, and how much. Not in the paper."""

    room: float = 0.0
    """Probability that a recording is heard in a room: echoes of 0.1 to 0.7 s."""
    noise: float = 0.0
    """Probability of noise, 5 to 30 dB below the speech, from white to brown."""
    telephone: float = 0.0
    """Probability of a telephone line: 300 to 3400 Hz in 8 bits of mu-law."""
    gain: float = 0.0
    """Most decibels by which a recording is made louder or softer."""

    def __post_init__(self) -> None:
        for name in ("room", "noise", "telephone"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"augment.{name} is a probability, 0 to 1, got {getattr(self, name):g}"
                )
        if self.gain < 0:
            raise ValueError(f"augment.gain cannot be negative, got {self.gain:g}")

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return any(getattr(self, field.name) for field in fields(self))


def augmented(waveform: Tensor, how: Augmentation, draw: np.random.Generator) -> Tensor:
    """Change a recording as drawn: (S,) -> (S,) float32, in the order of nature.

    The room comes first, then the noise, the line and the loudness. Every decision takes the same
    numbers from `draw`, so that one probability does not change what another gives.
    """
    chances, seeds, decibels = draw.random(3), draw.integers(2**63, size=3), draw.uniform(-1, 1)
    room, noise, line = (np.random.default_rng(int(seed)) for seed in seeds)
    if chances[0] < how.room:
        waveform = in_room(waveform, room)
    if chances[1] < how.noise:
        waveform = with_noise(waveform, noise)
    if chances[2] < how.telephone:
        waveform = by_telephone(waveform, line)
    return waveform * 10 ** (how.gain * decibels / 20) if how.gain else waveform


def in_room(waveform: Tensor, draw: np.random.Generator) -> Tensor:
    """The sound in a room: the direct sound, and noise that dies away after it; (S,) -> (S,).

    The direct sound is the response's first sample, so words stay where they are. The power stays.
    """
    seconds, direct = draw.uniform(*REVERBERATION), draw.uniform(*DIRECT)
    length = int(seconds * SAMPLE_RATE)
    decay = np.exp(-np.log(1000) * np.arange(1, length) / length)  # to -60 dB
    echoes = draw.standard_normal(length - 1) * decay
    echoes *= 10 ** (-direct / 20) / np.sqrt((echoes**2).sum())
    response = torch.from_numpy(np.concatenate([[1.0], echoes]).astype(np.float32))
    size = len(waveform) + length - 1
    heard = torch.fft.irfft(torch.fft.rfft(waveform, size) * torch.fft.rfft(response, size), size)
    heard = heard[: len(waveform)]
    return heard * _root_mean_square(waveform) / _root_mean_square(heard).clamp(min=1e-12)


def with_noise(waveform: Tensor, draw: np.random.Generator) -> Tensor:
    """The sound with noise of some colour and level, (S,) -> (S,)."""
    level, slope = draw.uniform(*NOISE_LEVELS), draw.uniform(*NOISE_SLOPES)
    white = torch.from_numpy(draw.standard_normal(len(waveform)).astype(np.float32))
    spectrum = torch.fft.rfft(white)
    places = torch.arange(len(spectrum)).clamp(min=1).float()
    noise = torch.fft.irfft(spectrum * places ** (-slope / 2), len(waveform))
    wanted = _root_mean_square(waveform) * 10 ** (-level / 20)
    return waveform + noise * wanted / _root_mean_square(noise).clamp(min=1e-12)


def by_telephone(waveform: Tensor, draw: np.random.Generator) -> Tensor:
    """The sound as a telephone carries it, (S,) -> (S,): its band, in 8 bits of mu-law."""
    low, high = TELEPHONE_BAND
    low, high = low * draw.uniform(0.5, 1.2), high * draw.uniform(0.9, 1.1)
    spectrum = torch.fft.rfft(waveform)
    hertz = torch.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    edges = torch.sigmoid((hertz - low) / 40) * torch.sigmoid((high - hertz) / 100)
    band = torch.fft.irfft(spectrum * edges, len(waveform))
    peak = band.abs().max().clamp(min=1e-12)
    log = torch.sign(band) * torch.log1p(MU * band.abs() / peak) / np.log1p(MU)  # -1 to 1
    steps = torch.round((log + 1) / 2 * MU) / MU * 2 - 1
    return torch.sign(steps) * torch.expm1(steps.abs() * np.log1p(MU)) / MU * peak


def _root_mean_square(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt()
