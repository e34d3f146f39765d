"""PCM and FLAC by libsndfile: exact lengths, and seeking exact to the sample."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

import numpy as np
import soundfile

from w2v2cli.data.decoding.decoder import Damage
from w2v2cli.data.decoding.promises import bytes_missing

SEEKABLE = frozenset(  # libsndfile's names of formats in which a seek is exact to the sample
    {"FLAC", "WAV", "WAVEX", "NIST", "RF64", "W64", "AIFF", "AU", "CAF"}
)
PIECE = 4096  # frames decoded at a time: how exactly it is known where a damaged file breaks off
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's number of frames for FLAC that was written into a pipe


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file read from front to end.

    soundfile seeks after every read where the file says it can, and some streams only say so.
    """

    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """A recording that libsndfile reads. Raises soundfile.LibsndfileError where it does not."""

    def __init__(self, stream: IO[bytes]) -> None:
        missing = bytes_missing(stream)
        stream.seek(0)
        # A descriptor where there is one: errors of the disk are lost in Python callbacks.
        plain = isinstance(stream, io.FileIO)
        self._file = _Forward(stream.fileno() if plain else stream, closefd=False)
        frames = self._file.frames
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int | None = None if frames == UNKNOWN_LENGTH else frames
        self.promised = self.frames
        if frames and self.frames is not None and missing is not None:
            present, absent = missing
            self.promised = frames + round(frames * absent / max(present, 1))
        self.estimate = self.promised
        self.seekable = self._file.format in SEEKABLE
        # PCM's headers may be off by less than a word's length; that of FLAC counts samples.
        self.tolerance = 0.0 if self._file.format == "FLAC" else 0.1

    def seek(self, frame: int) -> int:
        """Go to a sample; returns its number. Raises Damage."""
        try:
            return int(self._file.seek(frame))
        except soundfile.LibsndfileError as error:
            raise Damage(reason_of(error)) from None

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples (S, C) float32 from here to the end. Raises Damage."""
        while True:
            try:
                samples = self._file.read(PIECE, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise Damage(reason_of(error)) from None
            if not len(samples):
                return
            yield samples

    def close(self) -> None:
        """Free the decoder."""
        self._file.close()


def reason_of(error: soundfile.LibsndfileError) -> str:
    """libsndfile's message, fit for the middle of a sentence."""
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
