"""Compressed audio and containers by PyAV (FFmpeg): decoded from the beginning to the end.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from w2v2cli.data.decoding.decoder import Damage
from w2v2cli.data.decoding.promises import damaged_page, mp3_frames

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

# FFmpeg's names of what may be opened. Formats that name other files or addresses (playlists) and
# formats without sound are not among them.
DEMUXERS = (
    "mov mp4 matroska webm asf aac ac3 eac3 amr amrnb amrwb mp3 ogg flac wav w64 aiff au caf "
    "nistsphere avi flv mpeg mpegts rm wv ape tta dts voc loas"
)
PIECE = 4096  # frames yielded at a time, at least
# FFmpeg takes any bytes for one of the other formats.
CERTAIN = ("mov", "matroska", "asf", "ogg", "wav", "flac")
TIMED = ("mov", "aiff")  # a track's length is that of the header
# Formats without a frame around the stream: tags and the like may lie between two packets.
BARE = ("mp3", "aac", "ac3", "eac3")
LOST, LOST_BARE = 0.1, 1.0  # seconds that may be undecodable without a word


class ContainerError(Exception):
    """A file that PyAV cannot open; the message is the end of a sentence that names the file."""

    def __init__(self, message: str, recognised: bool = True) -> None:
        super().__init__(message)
        self.recognised = recognised
        """Whether its format is known: no other decoder needs to be tried."""


class _Unnamed:
    """A stream without its name: FFmpeg would believe a suffix more than the content."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read, self.seek, self.tell = stream.read, stream.seek, stream.tell


class Frames:
    """The frames of an audio stream; a packet that cannot be decoded is noted and passed over."""

    def __init__(self, container: InputContainer) -> None:
        self._container, self._track = container, container.streams.audio[0]
        self.lost: list[float] = []
        """Where packets could not be decoded, in seconds."""
        self._lost_seconds = 0.0
        self.damage: str | None = None
        """Why nothing more can be read."""

    def __iter__(self) -> Iterator[AudioFrame]:
        import av

        context = self._track.codec_context
        packets = self._container.demux(self._track)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self.damage = _reason(error)
                return
            if packet is None:
                return
            try:
                yield from context.decode(packet if packet.size else None)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                base = float(packet.time_base or 0)
                self.lost.append(float(packet.pts or 0) * base)
                self._lost_seconds += float(packet.duration or 0) * base

    @property
    def fault(self) -> str | None:
        """What was wrong so far; None where nothing was, or no more than tags between packets."""
        if self.damage is not None:
            return self.damage
        kind = self._container.format.name
        if self._lost_seconds <= (LOST_BARE if kind in BARE else LOST):
            return None
        return f"{self._lost_seconds:.1f} s cannot be decoded, the first at {self.lost[0]:.1f} s"


class ContainerDecoder:
    """A recording that PyAV reads: the first audio stream of a file. Raises ContainerError."""

    frames: int | None = None
    seekable = False
    tolerance = 0.5  # encoders count the silence that they put before and after the sound

    def __init__(self, stream: IO[bytes]) -> None:
        try:
            import av
        except ImportError as error:
            raise ContainerError(f"needs PyAV to be read ({error}): pip install av.") from None
        av.logging.set_level(None)
        self._av, self._stream = av, stream
        stream.seek(0)
        try:
            whitelist = {"format_whitelist": DEMUXERS.replace(" ", ",")}
            self._container: InputContainer = av.open(
                _Unnamed(stream), "r", options=whitelist, metadata_errors="replace"
            )
        except av.error.FFmpegError as error:
            reason = f"is not audio that can be read: {_reason(error)}."
            raise ContainerError(reason, recognised=False) from None
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        container = self._container
        if not container.streams.audio:
            raise ContainerError("holds no sound: none of its streams is audio.")
        self._track = container.streams.audio[0]
        self._kind = container.format.name
        if self._track.codec_context is None:
            raise ContainerError("is compressed in a way that cannot be decoded.")
        frames = Frames(container)
        self._decoded, self._frames = frames, iter(frames)
        self._first = next(self._frames, None)  # the header may state half the rate (HE-AAC)
        if self._first is None:
            certain = self._kind.startswith(CERTAIN)
            if certain and frames.damage is None and not frames.lost:
                raise ContainerError("holds no samples.")
            reason = frames.damage or "nothing in it can be decoded"
            raise ContainerError(f"is not audio that can be read: {reason}.", certain)
        self.rate: int = self._first.sample_rate
        self.channels: int = len(self._first.layout.channels)
        seconds = self._promised_seconds()
        self.promised = None if seconds is None else round(seconds * self.rate)
        self.estimate = self.promised
        if self.estimate is None and container.duration:
            self.estimate = round(container.duration / 1e6 * self.rate)

    def _promised_seconds(self) -> float | None:
        """The length by the header; None where FFmpeg only estimates one."""
        track, container = self._track, self._container
        whole = container.duration / 1e6 if container.duration else None
        alone = len(container.streams) == 1
        if self._kind.startswith(TIMED) and track.duration and track.time_base:
            return float(track.duration * track.time_base)
        if self._kind == "caf" and track.codec_context.name.startswith("pcm"):
            return track.frames / self.rate or None
        if self._kind.startswith("matroska"):
            stated = re.match(r"(\d+):(\d+):([\d.]+)$", track.metadata.get("DURATION", "").strip())
            if stated:
                return int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3])
            return whole if alone else None
        if self._kind == "asf":
            return whole if alone else None
        if self._kind == "mp3":
            at = self._stream.tell()
            frames = mp3_frames(self._stream)
            self._stream.seek(at)
            if frames is not None:
                return frames * (1152 if self.rate >= 32_000 else 576) / self.rate
        return None

    def seek(self, frame: int) -> int:
        """Not possible: these formats are decoded from their beginning."""
        raise NotImplementedError

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples (S, C) float32 from here to the end. Raises Damage."""
        held: list[np.ndarray] = []
        for block in self._arrays():
            if held and block.shape[1] != held[0].shape[1]:
                yield np.concatenate(held)
                held = []
            held.append(block)
            if sum(map(len, held)) >= PIECE:
                yield np.concatenate(held)
                held = []
        if held:
            yield np.concatenate(held)
        if (fault := self._decoded.fault) is not None:
            raise Damage(fault)
        if self._kind == "ogg" and (fault := damaged_page(self._stream)) is not None:
            raise Damage(fault)

    def _arrays(self) -> Iterator[np.ndarray]:
        """The samples (S, C) of each frame, at the rate of the first."""
        convert: Any = None
        changed = 0  # the rate that `convert` expects
        frame = self._first
        while frame is not None:
            if convert is not None and frame.sample_rate != changed:
                yield from map(samples_of, convert.resample(None))
                convert = None
            if frame.sample_rate == self.rate:
                yield samples_of(frame)
            else:
                if convert is None:
                    changed = frame.sample_rate
                    convert = self._av.AudioResampler("fltp", frame.layout, self.rate)
                frame.pts = None
                yield from map(samples_of, convert.resample(frame))
            frame = next(self._frames, None)
        if convert is not None:
            yield from map(samples_of, convert.resample(None))

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()


def samples_of(frame: AudioFrame) -> np.ndarray:
    """(S, C) float32; integers are divided by the largest value of their type plus one."""
    values: np.ndarray = frame.to_ndarray()  # (C, S) planar, (1, S * C) packed
    channels = len(frame.layout.channels)
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / np.float32(128)
    if np.issubdtype(values.dtype, np.integer):
        return (values / (np.iinfo(values.dtype).max + 1.0)).astype(np.float32)
    return values.astype(np.float32)


def _reason(error: Exception) -> str:
    """FFmpeg's message, fit for the middle of a sentence."""
    text = str(getattr(error, "strerror", None) or error)
    return text[:1].lower() + text[1:].rstrip(".")
