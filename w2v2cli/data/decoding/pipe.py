"""Sound that arrives bit by bit on a pipe: WAV, bare PCM, or what FFmpeg reads without seeking.

Unlike `opening`, nothing here waits for the end of the pipe. Shapes: S samples, C channels.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, NamedTuple

import numpy as np

from w2v2cli.data.decoding.container import DEMUXERS, Frames, samples_of
from w2v2cli.data.decoding.decoder import FASTEST, SLOWEST, check_samples, mono
from w2v2cli.data.decoding.promises import PLACEHOLDER
from w2v2cli.data.decoding.source import AudioError
from w2v2cli.data.resampling import resampled

BLOCK = 1 << 14  # bytes asked for at a time; a pipe gives what it has
EXTENSIBLE = 0xFFFE  # a WAV format whose own number follows later
INTEGERS, FLOATS = 1, 3  # numbers of WAV formats
MARKS = {b"RIFF": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg"}
HEADER = 1 << 20  # bytes in which the sound of a WAV file must begin
Tell = Callable[[str], None]


class Layout(NamedTuple):
    """How samples lie in bytes, little endian."""

    rate: int
    """Hz."""
    channels: int = 1
    bits: int = 16
    floats: bool = False


class Bytes:
    """The bytes of a pipe, as they come."""

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        # `read` of a buffered pipe waits until it has all that was asked for.
        self._read: Callable[[int], bytes] = pipe.read1 if hasattr(pipe, "read1") else pipe.read
        self.name = name
        self._held = b""

    def read(self, most: int = BLOCK) -> bytes:
        """One to `most` bytes, as soon as there are any; none at the end."""
        if self._held:
            found, self._held = self._held[:most], self._held[most:]
            return found
        try:
            return self._read(most)
        except OSError as error:
            raise AudioError(f"{self.name} cannot be read: {error.strerror}.") from None

    def exactly(self, count: int) -> bytes:
        """`count` bytes; fewer at the end."""
        parts, missing = [], count
        while missing > 0 and (part := self.read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def give_back(self, some: bytes) -> None:
        """Have `some` be read again."""
        self._held = some + self._held


def live_sound(
    pipe: IO[bytes],
    name: str,
    pcm_rate: int | None = None,
    tell: Tell = lambda sentence: None,
) -> Iterator[np.ndarray]:
    """The sound of a pipe as it arrives: (S,) float32, mono, 16 kHz.

    pcm_rate: the pipe holds bare samples at this rate (16 bit, little endian, one channel); None
    where it begins with a header. Where a WAV header leaves its length open, as a recorder does
    that writes into a pipe, the sound lasts until the end. Raises AudioError.
    tell: called at the end with a sentence about what ends too early, or goes on.
    """
    data = Bytes(pipe, name)
    begin = data.exactly(12)
    if not begin:
        raise AudioError(f"Nothing came in on {name}.")
    if pcm_rate is not None:
        if kind := next((kind for mark, kind in MARKS.items() if begin.startswith(mark)), None):
            raise AudioError(
                f"{name} begins as {kind} does, not with bare samples: leave out --pcm."
            )
        data.give_back(begin)
        layout = Layout(pcm_rate)
        yield from resampled(_samples(data, layout, None, tell), layout.rate)
        return
    if begin[:4] in (b"RIFF", b"RF64") and begin[8:] == b"WAVE":
        layout, size = _wave_layout(data)
        yield from resampled(_samples(data, layout, size, tell), layout.rate)
        return
    data.give_back(begin)
    rate, samples = _contained(data, tell)
    yield from resampled(samples, rate)


def _wave_layout(data: Bytes) -> tuple[Layout, int | None]:
    """Read a WAV header up to the first sample: the layout, and the bytes of sound it promises.

    None where the writer left that open. Raises AudioError."""
    layout = long_size = None
    read = 12
    while read < HEADER:
        head = data.exactly(8)
        if len(head) < 8:
            break
        size = struct.unpack("<I", head[4:])[0]
        if head[:4] == b"data":
            if layout is None:
                break
            if size == 0xFFFF_FFFF and long_size:
                return layout, long_size
            return layout, size if 0 < size < PLACEHOLDER else None
        body = data.exactly(min(size + size % 2, HEADER))
        if head[:4] == b"ds64":  # of a file that may exceed 4 GB
            long_size = int.from_bytes(body[8:16], "little")
        if head[:4] == b"fmt ":
            layout = _layout(body, data.name)
        read += 8 + len(body)
    raise AudioError(f"{data.name} begins like a WAV file, but holds no sound.")


def _layout(body: bytes, name: str) -> Layout:
    if len(body) < 16:
        raise AudioError(f"{name} begins like a WAV file, but does not say how samples are kept.")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if kind == EXTENSIBLE and len(body) >= 26:
        kind = struct.unpack("<H", body[24:26])[0]
    known = (kind == INTEGERS and bits in (8, 16, 24, 32)) or (kind == FLOATS and bits in (32, 64))
    if not known or not channels or not SLOWEST <= rate <= FASTEST:
        raise AudioError(
            f"{name} is WAV of format {kind} with {bits} bits, {channels} channels and {rate} "
            "samples a second: a stream must be PCM."
        )
    return Layout(rate, channels, bits, kind == FLOATS)


def _samples(data: Bytes, layout: Layout, promised: int | None, tell: Tell) -> Iterator[np.ndarray]:
    """(S,) float32 samples at their own rate. A frame that is cut in two waits for its rest.

    promised: bytes of sound by the header; None where they last until the end.
    """
    size = layout.channels * layout.bits // 8
    rest, done, left = b"", 0, math.inf if promised is None else promised
    while left and (block := data.read(int(min(left, BLOCK)))):
        left -= len(block)
        block = rest + block
        whole = len(block) - len(block) % size
        rest = block[whole:]
        if whole:
            values = _numbers(block[:whole], layout).reshape(-1, layout.channels)
            check_samples(values, data.name, done, layout.rate)
            done += len(values)
            yield mono(values.astype(np.float32))
    here = done * size + len(rest)
    if promised is not None and here < promised:
        whole_seconds = promised / size / layout.rate
        tell(f"{data.name} is cut short: {done / layout.rate:.2f} s of {whole_seconds:.2f} s came.")
    elif promised is not None and _goes_on(data, promised):
        tell(
            f"{data.name} goes on after the {done / layout.rate:.2f} s of sound that its header "
            "states: the rest is left out."
        )
    elif rest and promised is None:
        said = "1 byte is" if len(rest) == 1 else f"{len(rest)} bytes are"
        tell(f"{data.name} ends inside a sample: its last {said} left out.")


def _goes_on(data: Bytes, size: int) -> bool:
    """Whether anything but chunks follows the sound of a WAV file, `size` bytes."""
    data.exactly(size % 2)
    while len(head := data.exactly(8)) == 8:
        if head[:4] in MARKS or not re.fullmatch(rb"[A-Za-z0-9 _-]{4}", head[:4]):
            return True
        left = int.from_bytes(head[4:], "little")
        left += left % 2
        while left and (passed := data.read(min(left, BLOCK))):
            left -= len(passed)
    return False


def _numbers(block: bytes, layout: Layout) -> np.ndarray:
    """The samples of all channels, in [-1, 1] where they were integers."""
    if layout.floats:
        return np.frombuffer(block, f"<f{layout.bits // 8}")  # cast once it is checked
    if layout.bits == 8:
        return (np.frombuffer(block, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if layout.bits == 24:
        thirds = np.frombuffer(block, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(thirds), 4), np.uint8)
        wide[:, 1:] = thirds
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    values = np.frombuffer(block, f"<i{layout.bits // 8}")
    return (values / 2.0 ** (layout.bits - 1)).astype(np.float32)


def _contained(data: Bytes, tell: Tell) -> tuple[int, Iterator[np.ndarray]]:
    """Rate and samples of what FFmpeg reads, from a pipe that cannot seek. Raises AudioError."""
    try:
        import av
    except ImportError as error:
        raise AudioError(f"{data.name} needs PyAV to be read ({error}): pip install av.") from None
    av.logging.set_level(None)
    refused = f"{data.name} is not audio that can be read as it comes: "
    hint = "send WAV, or bare samples with --pcm RATE"
    try:
        whitelist = {"format_whitelist": DEMUXERS.replace(" ", ",")}
        container = av.open(data, "r", options=whitelist, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise AudioError(f"{refused}{error.strerror}; {hint}.") from None
    if not container.streams.audio:
        raise AudioError(f"{refused}it holds no sound; {hint}.")
    frames = Frames(container)
    each = iter(frames)
    first = next(each, None)
    if first is None:
        raise AudioError(f"{refused}{frames.damage or 'it holds no sound'}; {hint}.")

    def every() -> Iterator[np.ndarray]:
        done = 0
        for frame in chain([first], each):
            if frame.sample_rate != first.sample_rate:
                raise AudioError(f"{data.name} changes its rate: a stream has one.")
            values = samples_of(frame)
            check_samples(values, data.name, done, frame.sample_rate)
            done += len(values)
            yield mono(values)
        if frames.fault is not None:
            tell(f"{data.name} breaks off after {done / first.sample_rate:.1f} s: {frames.fault}.")

    return first.sample_rate, every()
