"""Reading audio: any format that libsndfile or FFmpeg reads, as mono float32 at 16 kHz.

Whole, in part, or as a stream in bounded memory. Shapes: S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.config import SAMPLE_RATE
from w2v2cli.data.decoding.decoder import FASTEST, SLOWEST, Damage, Decoder, cancels, pieces
from w2v2cli.data.decoding.folders import find_recordings, recordings_by_place
from w2v2cli.data.decoding.opening import opened
from w2v2cli.data.decoding.source import (
    STDIN,
    SUFFIXES,
    VIDEOS,
    AudioError,
    CutShort,
    Source,
    name_of,
)
from w2v2cli.data.resampling import resampled, resampled_length

__all__ = [
    "STDIN",
    "SUFFIXES",
    "VIDEOS",
    "AudioError",
    "AudioInfo",
    "Channel",
    "Cut",
    "CutShort",
    "Recorded",
    "Source",
    "Waveform",
    "find_recordings",
    "name_of",
    "recordings_by_place",
    "measure",
    "part_of",
    "probe",
    "read_audio",
    "read_part",
    "stream",
    "stream_audio",
]
WHOLE_CHUNK = 60.0  # seconds decoded at a time of a recording that is read whole


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header states."""

    seconds: float
    """Length; an estimate for compressed files whose header does not state it."""
    sample_rate: int
    """Hz, of the file."""
    channels: int
    frames: int
    """Samples of one channel at the file's rate; an estimate where `seconds` is one."""


def probe(source: Source) -> AudioInfo:
    """Read a recording's header; where that leaves the length open, decode the recording.

    Stdin can be read once, and this reads it. Raises AudioError for a header that makes no sense.
    """
    with opened(source) as decoder:
        frames = decoder.estimate
        if frames is None:
            frames = sum(len(piece) for piece in pieces(decoder, name_of(source)))
        return AudioInfo(frames / decoder.rate, decoder.rate, decoder.channels, frames)


def read_audio(source: Source) -> np.ndarray:
    """Read a whole recording: (S,) float32, mono, 16 kHz. See `stream_audio`."""
    return np.concatenate(
        [np.zeros(0, np.float32), *stream_audio(source, chunk_seconds=WHOLE_CHUNK)]
    )


def measure(source: Source) -> int:
    """The number of samples that `read_audio` returns, without decoding where the header is exact.

    Raises AudioError, also for a file that holds less than its header promises.
    """
    with opened(source) as decoder:
        frames = decoder.frames
        if frames is None or frames != decoder.promised:
            frames = sum(len(piece) for piece in pieces(decoder, name_of(source)))
        return resampled_length(frames, decoder.rate)


@dataclass(frozen=True)
class Cut:
    """A part of a longer recording, in samples at 16 kHz."""

    path: Source
    start: int
    """First sample."""
    samples: int | None = None
    """Length; None for the rest of the file."""

    def __str__(self) -> str:
        end = "" if self.samples is None else f"{(self.start + self.samples) / SAMPLE_RATE:g}"
        return f"{self.path} ({self.start / SAMPLE_RATE:g} to {end} s)"


@dataclass(frozen=True)
class Channel:
    """One channel of a recording."""

    path: Source
    number: int
    """From 1 on."""

    def __str__(self) -> str:
        return f"{name_of(self.path)} (channel {self.number})"


@dataclass(frozen=True, eq=False)
class Waveform:
    """A recording in memory."""

    samples: Any
    """(S,), (channels, S) or (S, channels) numbers, in an array or a tensor.

    Floats are taken as they are, integers are divided by the largest value of their type.
    """
    rate: int
    """Samples per second."""
    name: str

    def mono(self) -> np.ndarray:
        """(S,) float32, the channels averaged. Raises AudioError for what is not a recording."""
        values = np.asarray(self.samples)
        if values.ndim not in (1, 2) or not np.issubdtype(values.dtype, np.number):
            raise AudioError(
                f"{self.name} has shape {values.shape} of {values.dtype}: "
                "a recording is (S,) or (channels, S) numbers."
            )
        if not SLOWEST <= self.rate <= FASTEST:
            raise AudioError(
                f"{self.name} has {self.rate} samples a second; {SLOWEST} to {FASTEST} can be read."
            )
        scale = 1.0
        if np.issubdtype(values.dtype, np.integer):
            scale = 1.0 / (np.iinfo(values.dtype).max + 1.0)
        values = values.astype(np.float32) * np.float32(scale)
        if values.ndim == 2:
            by_sample = values.T if values.shape[0] < values.shape[1] else values
            values = by_sample[:, 0] if cancels(by_sample) else by_sample.mean(axis=1)
        if not values.size:
            raise AudioError(f"{self.name} holds no samples.")
        if not np.isfinite(values).all():
            raise AudioError(f"{self.name} holds samples that are not numbers (NaN or infinity).")
        return values

    def __str__(self) -> str:
        return self.name


Recorded = Source | Cut | Channel | Waveform  # what can be transcribed


def read_part(source: Source, start: int, samples: int | None = None) -> np.ndarray:
    """Read a part of what `read_audio` returns: (S,) float32, mono, 16 kHz.

    start, samples: first sample and number of samples, at 16 kHz; samples None reads to the end.
    A PCM or FLAC file at 16 kHz is decoded only there, another from its beginning.

    Raises AudioError as `stream_audio`, and for a file that ends before `start + samples`.
    """
    with opened(source) as decoder:
        return part_of(decoder, name_of(source), start, samples)


def part_of(decoder: Decoder, name: str, start: int, samples: int | None = None) -> np.ndarray:
    """Read a part by a decoder that stands at the beginning; see `read_part`."""
    end = None if samples is None else start + samples
    held: list[np.ndarray] = [np.zeros(0, np.float32)]
    at = 0  # the first sample of the next piece
    exact = decoder.rate == SAMPLE_RATE and decoder.seekable
    if exact and 0 < start <= (decoder.frames or 0):
        try:
            at = decoder.seek(start)
        except Damage as damage:
            seconds = start / SAMPLE_RATE
            raise AudioError(f"{name} cannot be read from {seconds:.1f} s on: {damage}.") from None
    found = pieces(decoder, name, at)
    if decoder.rate != SAMPLE_RATE:  # in the pieces of `read_audio`, to round as it does
        found = _gathered(found, int(WHOLE_CHUNK * decoder.rate))
    for piece in resampled(found, decoder.rate):
        held.append(piece[max(start - at, 0) : None if end is None else max(end - at, 0)])
        at += len(piece)
        if end is not None and at >= end:
            break
    if at < (start if end is None else end):
        wanted = f"from {start} on" if end is None else f"{start} to {end}"
        raise AudioError(f"{name} has {at} samples at 16 kHz; {wanted} were asked for.")
    return np.concatenate(held)


def stream(
    recorded: Recorded,
    chunk_seconds: float,
    on_cut_short: Callable[[str], None] | None = None,
) -> Iterator[np.ndarray]:
    """Read a recording or a part of one in chunks of about `chunk_seconds`: (S,) float32 at 16 kHz.

    A cut is read at once and then divided. Raises AudioError; see `stream_audio`. With
    `on_cut_short` a recording that is cut short ends where it does, and the sentence goes there.
    """
    if isinstance(recorded, Waveform):
        samples, size = recorded.mono(), max(int(chunk_seconds * recorded.rate), 1)
        starts = range(0, len(samples), size)
        yield from resampled((samples[at : at + size] for at in starts), recorded.rate)
        return
    if isinstance(recorded, Channel):
        yield from stream_audio(recorded.path, chunk_seconds, on_cut_short, recorded.number)
        return
    if not isinstance(recorded, Cut):
        yield from stream_audio(recorded, chunk_seconds, on_cut_short)
        return
    samples = read_part(recorded.path, recorded.start, recorded.samples)
    size = int(chunk_seconds * SAMPLE_RATE)
    for begin in range(0, len(samples), size):
        yield samples[begin : begin + size]


def stream_audio(
    source: Source,
    chunk_seconds: float,
    on_cut_short: Callable[[str], None] | None = None,
    channel: int | None = None,
) -> Iterator[np.ndarray]:
    """Read a recording in chunks of about `chunk_seconds`: (S,) float32, mono, 16 kHz.

    Joined, the chunks are the whole recording, without gap or seam. Integer formats are scaled to
    [-1, 1], float formats are returned as stored, channels are averaged, or one of them is taken
    (from 1 on).

    Raises AudioError with the file and the reason; CutShort for a file that breaks off, or holds
    less than its header promises, after the samples before that place. With `on_cut_short` the
    stream ends there instead, as that of a whole recording, and the sentence goes to the function.
    """
    with opened(source) as decoder:
        block = max(int(chunk_seconds * decoder.rate), 1)
        found = pieces(decoder, name_of(source), channel=channel)
        if on_cut_short is not None:
            found = _as_far_as_it_goes(found, on_cut_short)
        yield from resampled(_gathered(found, block), decoder.rate)


def _as_far_as_it_goes(
    found: Iterator[np.ndarray], on_cut_short: Callable[[str], None]
) -> Iterator[np.ndarray]:
    try:
        yield from found
    except CutShort as error:
        on_cut_short(str(error))


def _gathered(found: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join small pieces to at least `size` samples; an AudioError is raised after the rest."""
    held: list[np.ndarray] = []
    trouble = None
    while True:
        try:
            piece = next(found, None)
        except AudioError as error:
            piece, trouble = None, error
        if piece is not None:
            held.append(piece)
        if held and (piece is None or sum(map(len, held)) >= size):
            yield np.concatenate(held)
            held = []
        if piece is None:
            break
    if trouble is not None:
        raise trouble
