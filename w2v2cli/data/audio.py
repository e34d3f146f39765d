"""Recordings: any format libsndfile reads, as mono float32 at 16 kHz, whole or as a stream in bounded memory."""

from __future__ import annotations

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from w2v2cli.data.resampling import resampled
from w2v2cli.errors import UserError

Source = Path  # a file, or STDIN
STDIN = Path("-")
SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .wave".split())
SLOWEST, FASTEST = 1_000, 768_000  # Hz; what lies outside is no recording of speech but a damaged header
SPOOL_BYTES = 64 * 2**20  # of stdin kept in memory; the rest goes to a temporary file


class AudioError(UserError):
    """A recording that cannot be read, or not to its end."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    seconds: float
    sample_rate: int
    """Hz, of the file."""
    channels: int
    frames: int
    """Samples of one channel, at the file's rate."""


def probe(source: Source) -> AudioInfo:
    """Read a recording's header; AudioError when it has none that makes sense."""
    with _opened(source) as file:
        return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels, file.frames)


def read_audio(source: Source) -> np.ndarray:
    """A whole recording, (S,) float32 mono at 16 kHz; see `stream_audio`."""
    return np.concatenate([np.zeros(0, np.float32), *stream_audio(source, chunk_seconds=60.0)])


def stream_audio(source: Source, chunk_seconds: float) -> Iterator[np.ndarray]:
    """A recording in pieces of about `chunk_seconds`: (S,) float32, mono, 16 kHz, without gap or seam.

    Channels are averaged. Raises AudioError, naming the file and the trouble, for what cannot be read; a file that
    breaks off gives what stands before and then raises.
    """
    with _opened(source) as file:
        yield from resampled(_mono(file, source, chunk_seconds), file.samplerate)


def _mono(file: soundfile.SoundFile, source: Source, chunk_seconds: float) -> Iterator[np.ndarray]:
    """Averaged channels at the file's own rate, checked as they come."""
    block = max(int(chunk_seconds * file.samplerate), 1)
    done = 0
    while True:
        try:
            samples = file.read(block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{source} breaks off after {done / file.samplerate:.1f} s: {error.error_string}") from None
        if not len(samples):
            break
        if not np.isfinite(samples).all():
            raise AudioError(f"{source} holds samples that are no numbers (NaN or infinity).")
        done += len(samples)
        yield samples[:, 0] if file.channels == 1 else samples.mean(axis=1)
    # Compressed formats only estimate their length; a tenth of a second is nobody's word.
    if done < file.frames - file.samplerate / 10 and file.format != "MP3":
        seconds, promised = done / file.samplerate, file.frames / file.samplerate
        raise AudioError(f"{source} is cut short: it holds {seconds:.1f} s of the {promised:.1f} s its header promises.")


@contextmanager
def _opened(source: Source) -> Iterator[soundfile.SoundFile]:
    """A recording's decoder, its header checked."""
    with _bytes(source) as stream:
        try:
            file = soundfile.SoundFile(stream)
        except (soundfile.LibsndfileError, TypeError) as error:
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            raise AudioError(f"{source} is no audio that can be read: {reason}.") from None
        with file:
            if file.channels < 1:
                raise AudioError(f"{source} has no channel.")
            if not SLOWEST <= file.samplerate <= FASTEST:
                raise AudioError(
                    f"{source} says it has {file.samplerate} samples a second; {SLOWEST} to {FASTEST} can be read."
                )
            if file.frames == 0:
                raise AudioError(f"{source} holds no samples.")
            yield file


@contextmanager
def _bytes(source: Source) -> Iterator[IO[bytes]]:
    """A recording's bytes; AudioError in the system's words when there are none."""
    if source == STDIN:
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            if not spool.tell():
                raise AudioError("Nothing came in on stdin.")
            spool.seek(0)
            yield spool
        return
    if source.is_dir():
        known = " ".join(sorted(SUFFIXES))
        raise AudioError(f"The folder {source} holds no recordings (looked for {known}).")
    try:
        stream = source.open("rb")
    except OSError as error:
        raise AudioError(f"{source} cannot be opened: {error.strerror}.") from None
    with stream:
        if not stream.read(1):
            raise AudioError(f"{source} is an empty file.")
        stream.seek(0)
        yield stream


def find_recordings(inputs: Iterable[str | Path]) -> list[Source]:
    """Files as named, the recordings in folders and their subfolders by name, what patterns match; no file twice.

    What does not exist, and a folder without recordings, stays in the list: reading it says what is wrong with it.
    """
    found: dict[Source, None] = {}
    for item in inputs:
        path = Path(item)
        within: Sequence[Path] = [path]
        if path.is_dir():
            files = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            within = sorted(p for p in files if p.is_file()) or [path]
        elif not path.exists() and glob.has_magic(str(item)):
            within = sorted(Path(p) for p in glob.glob(str(item), recursive=True)) or [path]
        found.update(dict.fromkeys(within))
    return list(found)
