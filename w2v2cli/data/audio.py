"""Reading audio: any format that libsndfile reads, as mono float32 at 16 kHz.

Whole, in part, or as a stream in bounded memory. Shapes: S samples.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from models.config import SAMPLE_RATE
from w2v2cli.data.resampling import resampled, resampled_length
from w2v2cli.errors import UserError

Source = Path  # a file, or STDIN
STDIN = Path("-")
SUFFIXES = frozenset(
    [".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"]
    + [".aiff", ".aif", ".aifc", ".au", ".caf"]
)
FOREIGN = frozenset(  # formats that ffmpeg has to convert first
    ".m4a .m4b .mp4 .aac .wma .webm .mkv .mka .mov .amr .3gp .ac3".split()
)
SLOWEST, FASTEST = 1_000, 768_000  # Hz; a rate outside comes from a damaged header
SPOOL_BYTES = 64 * 2**20  # of a pipe kept in memory; the rest goes to a temporary file
SEEKABLE = frozenset(  # libsndfile's names of formats in which a seek is exact to the sample
    {"FLAC", "WAV", "WAVEX", "NIST", "RF64", "W64", "AIFF", "AU", "CAF"}
)
PIECE = 4096  # frames decoded at a time: how exactly it is known where a damaged file breaks off
WHOLE_CHUNK = 60.0  # seconds decoded at a time of a recording that is read whole
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's number of frames for FLAC that was written into a pipe


class AudioError(UserError):
    """A recording that cannot be read, or not to its end."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header states."""

    seconds: float
    """Length; for MP3 without a table of contents an estimate."""
    sample_rate: int
    """Hz, of the file."""
    channels: int
    frames: int
    """Samples of one channel at the file's rate; an estimate where `seconds` is one."""


def probe(source: Source) -> AudioInfo:
    """Read a recording's header; where that leaves the length open, decode the recording.

    Stdin can be read once, and this reads it. Raises AudioError for a header that makes no sense.
    """
    with _opened(source) as file:
        frames = file.frames
        if frames == UNKNOWN_LENGTH:
            frames = sum(len(piece) for piece in _pieces(file, _name(source)))
        return AudioInfo(frames / file.samplerate, file.samplerate, file.channels, frames)


def read_audio(source: Source) -> np.ndarray:
    """Read a whole recording: (S,) float32, mono, 16 kHz. See `stream_audio`."""
    return np.concatenate(
        [np.zeros(0, np.float32), *stream_audio(source, chunk_seconds=WHOLE_CHUNK)]
    )


def measure(source: Source) -> int:
    """The number of samples that `read_audio` returns, without decoding where the header is exact.

    Raises AudioError.
    """
    with _opened(source) as file:
        frames = file.frames
        if file.format == "MP3" or frames == UNKNOWN_LENGTH:
            frames = sum(len(piece) for piece in _pieces(file, _name(source)))
        return resampled_length(frames, file.samplerate)


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
            values = values.mean(axis=0 if values.shape[0] < values.shape[1] else 1)
        if not values.size:
            raise AudioError(f"{self.name} holds no samples.")
        if not np.isfinite(values).all():
            raise AudioError(f"{self.name} holds samples that are not numbers (NaN or infinity).")
        return values

    def __str__(self) -> str:
        return self.name


Recorded = Source | Cut | Waveform  # what can be transcribed


def read_part(source: Source, start: int, samples: int | None = None) -> np.ndarray:
    """Read a part of what `read_audio` returns: (S,) float32, mono, 16 kHz.

    start, samples: first sample and number of samples, at 16 kHz; samples None reads to the end.
    A file at 16 kHz in a SEEKABLE format is decoded only there, another from its beginning.

    Raises AudioError as `stream_audio`, and for a file that ends before `start + samples`.
    """
    end = None if samples is None else start + samples
    held: list[np.ndarray] = [np.zeros(0, np.float32)]
    with _opened(source) as file:
        at = 0  # the first sample of the next piece
        exact = file.samplerate == SAMPLE_RATE and file.format in SEEKABLE
        if exact and 0 < start <= file.frames:
            at = file.seek(start)
        pieces = _pieces(file, _name(source), at)
        if file.samplerate != SAMPLE_RATE:  # in the pieces of `read_audio`, to round as it does
            pieces = _gathered(pieces, int(WHOLE_CHUNK * file.samplerate))
        for piece in resampled(pieces, file.samplerate):
            held.append(piece[max(start - at, 0) : None if end is None else max(end - at, 0)])
            at += len(piece)
            if end is not None and at >= end:
                break
    if at < (start if end is None else end):
        wanted = f"from {start} on" if end is None else f"{start} to {end}"
        raise AudioError(f"{_name(source)} has {at} samples at 16 kHz; {wanted} were asked for.")
    return np.concatenate(held)


def stream(recorded: Recorded, chunk_seconds: float) -> Iterator[np.ndarray]:
    """Read a file, a cut or a waveform in chunks of about `chunk_seconds`: (S,) float32 at 16 kHz.

    A cut is read at once and then divided. Raises AudioError; see `stream_audio`.
    """
    if isinstance(recorded, Waveform):
        samples, size = recorded.mono(), max(int(chunk_seconds * recorded.rate), 1)
        starts = range(0, len(samples), size)
        yield from resampled((samples[at : at + size] for at in starts), recorded.rate)
        return
    if not isinstance(recorded, Cut):
        yield from stream_audio(recorded, chunk_seconds)
        return
    samples = read_part(recorded.path, recorded.start, recorded.samples)
    size = int(chunk_seconds * SAMPLE_RATE)
    for begin in range(0, len(samples), size):
        yield samples[begin : begin + size]


def stream_audio(source: Source, chunk_seconds: float) -> Iterator[np.ndarray]:
    """Read a recording in chunks of about `chunk_seconds`: (S,) float32, mono, 16 kHz.

    Joined, the chunks are the whole recording, without gap or seam. Integer formats are scaled to
    [-1, 1], float formats are returned as stored, channels are averaged.

    Raises AudioError with the file and the reason; for a file that breaks off, after the samples
    before that place. A truncated MP3, Ogg, WAV or AIFF file reads like a shorter one: libsndfile
    does not report it.
    """
    with _opened(source) as file:
        block = max(int(chunk_seconds * file.samplerate), 1)
        yield from resampled(_gathered(_pieces(file, _name(source)), block), file.samplerate)


def _gathered(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join small pieces to at least `size` samples; an AudioError is raised after the rest."""
    held: list[np.ndarray] = []
    trouble = None
    while True:
        try:
            piece = next(pieces, None)
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


def _pieces(file: soundfile.SoundFile, name: str, done: int = 0) -> Iterator[np.ndarray]:
    """The average of the channels, at the file's own rate, checked piece by piece.

    done: frames before the file's position.
    """
    rate = file.samplerate
    average = np.full(file.channels, 1 / file.channels, np.float32)
    promised = f" of {file.frames / rate:.1f} s" if file.frames != UNKNOWN_LENGTH else ""
    while True:
        try:
            samples = file.read(PIECE, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name} breaks off after {done / rate:.1f} s{promised}: {_reason(error)}."
            ) from None
        if not len(samples):
            break
        if not np.isfinite(samples).all():
            at = (done + int(np.isfinite(samples).all(axis=1).argmin())) / rate
            raise AudioError(
                f"{name} holds samples that are NaN or infinite, the first at {at:.3f} s."
            )
        done += len(samples)
        yield samples[:, 0] if file.channels == 1 else samples @ average  # (S, C) -> (S,)
    if file.frames == UNKNOWN_LENGTH or file.format == "MP3":
        if not done:
            raise AudioError(f"{name} holds no samples.")
    elif done < file.frames - rate / 10:  # headers may be off by less than a word's length
        raise AudioError(
            f"{name} is cut short: it holds {done / rate:.1f} s{promised} that its header promises."
        )


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file read from front to end.

    soundfile seeks after every read where the file says it can, and some streams only say so.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(source: Source) -> Iterator[soundfile.SoundFile]:
    """Open a recording's decoder and check its header."""
    name = _name(source)
    with _bytes(source) as stream:
        try:
            # A descriptor where there is one: errors of the disk are lost in Python callbacks.
            spooled = isinstance(stream, tempfile.SpooledTemporaryFile)
            file = _Forward(stream if spooled else stream.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name} is not audio that can be read: {_reason(error)}{_remedy(source)}"
            ) from None
        with file:
            if file.channels < 1:
                raise AudioError(f"{name} has no channel.")
            if not SLOWEST <= file.samplerate <= FASTEST:
                raise AudioError(
                    f"{name} says it has {file.samplerate} samples a second; {SLOWEST} to "
                    f"{FASTEST} can be read."
                )
            if file.frames == 0:
                raise AudioError(f"{name} holds no samples.")
            yield file


def _remedy(source: Source) -> str:
    """The end of a sentence about a file that cannot be decoded: how to convert it."""
    if _is_shortened(source):
        command = f"sph2pipe -f rif {source.name} {source.name}.wav"
        return f"; it is compressed with shorten, convert it first: {command}"
    if source.suffix.lower() in FOREIGN:
        return f"; convert it first: ffmpeg -i {source.name} {source.stem}.flac"
    return "."


def _is_shortened(source: Source) -> bool:
    """Whether a file is NIST SPHERE compressed with shorten, which libsndfile does not read."""
    if source == STDIN or not source.is_file():
        return False
    with source.open("rb") as file:
        header = file.read(1024)
    return header.startswith(b"NIST_1A") and b"shorten" in header


@contextmanager
def _bytes(source: Source) -> Iterator[IO[bytes]]:
    """A recording's bytes from the first on, in a stream that can seek. Raises AudioError."""
    if source == STDIN:
        if sys.stdin is None:  # closed by the process that started us
            raise AudioError("Nothing came in on stdin.")
        with _spooled(sys.stdin.buffer, "stdin") as spool:
            yield spool
        return
    try:
        if os.path.isdir(source):
            os.listdir(source)
            known = " ".join(sorted(SUFFIXES))
            raise AudioError(f"The folder {source} holds no recordings (looked for {known}).")
        stream = source.open("rb", buffering=0)
    except OSError as error:
        raise AudioError(f"{source} cannot be opened: {error.strerror}.") from None
    with stream:
        if not stream.seekable():  # a named pipe, or a shell's <(...)
            with _spooled(stream, str(source)) as spool:
                yield spool
            return
        if not stream.read(1):
            raise AudioError(f"{source} is an empty file.")
        stream.seek(0)
        yield stream


@contextmanager
def _spooled(pipe: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """The whole output of a pipe, in memory or in a temporary file."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        try:
            shutil.copyfileobj(pipe, spool)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise AudioError(f"{name} cannot be read: {error.strerror}.") from None
            place = tempfile.gettempdir()
            raise AudioError(
                f"{name} does not fit into {place}: the disk is full; set TMPDIR to another folder."
            ) from None
        if not spool.tell():
            raise AudioError(f"Nothing came in on {name}.")
        spool.seek(0)
        yield spool


def _name(source: Source) -> str:
    return "stdin" if source == STDIN else str(source)


def _reason(error: soundfile.LibsndfileError) -> str:
    """libsndfile's message, fit for the middle of a sentence."""
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def find_recordings(inputs: Iterable[str | Path]) -> list[Source]:
    """List files: those named, those in folders and their subfolders, those that match a pattern.

    A folder's recordings (SUFFIXES) come in the order of their names; no file comes twice. Hidden
    files and folders are skipped unless they are named. What does not exist, and a folder without
    recordings, stays in the list: reading it raises the error that says so.
    """
    found: dict[Source, None] = {}
    for item in map(str, inputs):
        matches = [item]
        if not os.path.lexists(item) and glob.has_magic(item):
            matches = sorted(glob.glob(item, recursive=True)) or [item]
        for match in matches:
            found.update(dict.fromkeys(_within(Path(match)) or [Path(match)]))
    return list(found)


def _within(folder: Path) -> list[Path]:
    """The recordings in a folder, and subfolders that cannot be listed; nothing for a file."""
    files: list[Path] = []

    def note(error: OSError) -> None:
        if not isinstance(error, NotADirectoryError | FileNotFoundError):
            files.append(Path(str(error.filename)))

    for root, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            Path(root, n)
            for n in names
            if Path(n).suffix.lower() in SUFFIXES and not n.startswith(".")
        ]
    return sorted(files)
