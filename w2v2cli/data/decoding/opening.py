"""The decoder that is right for a recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import soundfile

from storage.pointers import BEGINNING, NOT_FETCHED
from w2v2cli.data.decoding.container import ContainerDecoder, ContainerError
from w2v2cli.data.decoding.decoder import Decoder, check_header
from w2v2cli.data.decoding.sound_file import SoundFileDecoder, reason_of
from w2v2cli.data.decoding.source import AudioError, Source, name_of, opened_bytes

# How the formats begin for which libsndfile is right: PCM and FLAC.
PCM = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b".snd", b"caff", b"NIST")


@contextmanager
def opened(source: Source) -> Iterator[Decoder]:
    """Open a recording's decoder and check its header. Raises AudioError."""
    name = name_of(source)
    with opened_bytes(source) as stream:
        try:
            with closing(decoder_of(stream, name)) as decoder:
                check_header(decoder, name)
                yield decoder
        except OSError as error:  # of the disk, in the middle of a container
            raise AudioError(f"{name} cannot be read: {error.strerror}.") from None


def decoder_of(stream: IO[bytes], name: str) -> Decoder:
    """The decoder of a stream that can seek. Raises AudioError where none reads it."""
    begin = stream.read(4)
    if begin in PCM:
        try:
            return _by_sound_file(stream)
        except soundfile.LibsndfileError as error:
            refusal = AudioError(f"{name} {_refusal(stream, name, error)}")
        try:
            return ContainerDecoder(stream)
        except ContainerError as error:
            raise AudioError(f"{name} {error}") if error.recognised else refusal from None
    try:
        return ContainerDecoder(stream)
    except ContainerError as error:
        refusal = AudioError(f"{name} {error}")
        # libsndfile would print warnings of its own about MP3.
        if error.recognised or begin[:3] == b"ID3" or begin[:1] == b"\xff" or begin == b"OggS":
            raise refusal from None
    try:  # one of libsndfile's rarer formats
        return _by_sound_file(stream)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name} {_refusal(stream, name, error)}") from None


def _refusal(stream: IO[bytes], name: str, error: soundfile.LibsndfileError) -> str:
    """The end of a sentence about a file that libsndfile cannot decode."""
    sentence = f"is not audio that can be read: {reason_of(error)}"
    stream.seek(0)
    header = stream.read(1024)
    if header.startswith(b"NIST_1A") and b"shorten" in header:
        command = f"sph2pipe -f rif {Path(name).name} {Path(name).name}.wav"
        return f"{sentence}; it is compressed with shorten, convert it first: {command}"
    if header.startswith(BEGINNING):
        return f"{NOT_FETCHED}."
    return f"{sentence}."


def _by_sound_file(stream: IO[bytes]) -> Decoder:
    """libsndfile's decoder, or PyAV's for a header that says 0 though there is sound."""
    decoder = SoundFileDecoder(stream)
    if decoder.frames == 0:
        try:
            other = ContainerDecoder(stream)
        except ContainerError:
            return decoder
        decoder.close()
        return other
    return decoder
