"""Recordings in WebDataset shards: thousands in a tar, each read in place by its index.

Only the part that is asked for is decoded.
"""

from __future__ import annotations

import glob
import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from models.config import SAMPLE_RATE
from w2v2cli.data.audio import AudioError, part_of
from w2v2cli.data.decoding.decoder import check_header, mono, pieces
from w2v2cli.data.decoding.opening import PCM, decoder_of
from w2v2cli.data.decoding.sound_file import SEEKABLE, UNKNOWN_LENGTH, reason_of
from w2v2cli.data.loading.flat import Strings, Texts
from w2v2cli.data.recordings import samples_of_part
from w2v2cli.data.resampling import resampled, resampled_length
from w2v2cli.data.shards.index import (
    ShardError,
    ShardIndex,
    audio_of,
    described,
    index_path,
    list_members,
)
from w2v2cli.data.utterance import speaker_of

HEADER = 512  # bytes of a tar's header, right before its member
WHOLE = 4 << 20  # bytes; a larger recording is not read at once but as the decoder asks for it
OPEN = 32  # shards that a process keeps open


def find_shards(where: str | Path) -> list[Path]:
    """The shards in a folder, or those that match a pattern such as `train-*.tar`, by name."""
    path = Path(where).expanduser()
    if path.is_dir():
        return sorted(
            shard
            for shard in path.glob("*.tar")
            if not shard.name.startswith(".") and shard.is_file()  # macOS leaves ._NAME.tar
        )
    return sorted(Path(found) for found in glob.glob(str(path)) if found.endswith(".tar"))


class ShardRecordings:
    """The recordings of a folder of shards, or of the shards that match a pattern, as `Recordings`.

    Lengths, ids and texts come from the indexes. A foreign shard without an index is indexed in
    one pass; the index stays beside it where the folder can be written to. `jobs` indexes are read
    at a time.

    The object can be sent to other processes and survives a fork: each process opens the files
    itself and reads them by offset, so that no position is shared.

    Raises ShardError where there are no shards, where a set is incomplete, and for a shard that is
    damaged or does not fit its index.
    """

    def __init__(self, where: str | Path, jobs: int = 8) -> None:
        self.paths = find_shards(where)
        if not self.paths:
            raise ShardError(f"There are no shards (*.tar) at {where}.")
        with ThreadPoolExecutor(jobs) as pool:  # on a cluster's file system each open is slow
            indexes = list(pool.map(index_of, self.paths))
        count = max(index.set_size for index in indexes)
        if Path(where).expanduser().is_dir() and len(self.paths) < count:
            raise ShardError(
                f"{where} holds {len(self.paths)} of {count} shards: the same w2v2 data shard "
                "makes the rest."
            )
        counts = [len(index.samples) for index in indexes]
        self.shards = np.repeat(np.arange(len(indexes)), counts)  # (N,)
        self.lengths = _joined([index.samples for index in indexes])
        self.offsets = _joined([index.offsets for index in indexes])
        self.sizes = _joined([index.sizes for index in indexes])
        self.members = Strings.joined([index.members for index in indexes])
        self.ids: Sequence[str] = Strings.joined([index.ids for index in indexes])
        present = np.concatenate([index.texts.present for index in indexes])
        self.texts: Sequence[str | None] = Texts(
            Strings.joined([index.texts.strings for index in indexes]), present
        )
        self._speakers = [index.speakers for index in indexes]
        self._files: OrderedDict[int, _Descriptor] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": OrderedDict()}

    @cached_property
    def speakers(self) -> Sequence[str | None]:
        """The speaker of each, where the index has none by its id; see `Recordings`."""
        firsts = np.searchsorted(self.shards, range(len(self.paths)))
        told = [
            None if (names := self._speakers[shard]) is None else names[index - firsts[shard]]
            for index, shard in enumerate(self.shards.tolist())
        ]
        pairs = zip(told, self.ids, strict=True)
        return [speaker_of(name) if speaker is None else speaker for speaker, name in pairs]

    def read(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Read a part of a recording; see `Recordings.read`."""
        samples = samples_of_part(self, index, start, samples)
        shard = int(self.shards[index])
        offset, size = int(self.offsets[index]), int(self.sizes[index])
        return _decoded(
            self._file(shard), self.paths[shard], self.members[index], offset, size, start, samples
        )

    def _file(self, shard: int) -> _Descriptor:
        """A shard's descriptor; beyond OPEN, the one that was not used for longest is closed."""
        file = self._files.pop(shard, None) or _Descriptor(self.paths[shard])
        self._files[shard] = file
        if len(self._files) > OPEN:
            self._files.popitem(last=False)
        return file


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays).astype(np.int64)


class _Descriptor:
    """A file opened for reading, closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        try:
            self.number = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ShardError(f"{path} cannot be opened: {error.strerror}.") from None

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


def _decoded(
    file: _Descriptor, shard: Path, member: str, offset: int, size: int, start: int, samples: int
) -> np.ndarray:
    """A part of one member: (S,) float32, mono, 16 kHz. Raises ShardError with shard and member."""
    try:
        block = os.pread(file.number, HEADER + (size if size <= WHOLE else 0), offset - HEADER)
        _check_header(block, shard, member)
        if HEADER + size > len(block) and size <= WHOLE:
            raise ShardError(f"{shard} is cut short: it ends inside {member}.")
        part = _TarMember(file, offset, size)
        stream = io.BytesIO(block[HEADER:]) if size <= WHOLE else io.BufferedReader(part, 1 << 16)
        found = _part(stream, member, start, samples)
    except soundfile.LibsndfileError as error:
        raise ShardError(f"{shard}: {member} cannot be decoded: {reason_of(error)}.") from None
    except AudioError as error:
        if part.trouble is None:
            reason = str(error).removeprefix(f"{member} ")
            raise ShardError(f"{shard}: {member} cannot be decoded: it {reason}") from None
        found = np.zeros(0, np.float32)
    except OSError as error:
        raise ShardError(f"{shard} cannot be read at {member}: {error.strerror}.") from None
    if part.trouble is not None:
        raise ShardError(
            f"{shard} cannot be read at {member}: {part.trouble.strerror or part.trouble}."
        )
    if len(found) < samples:
        raise ShardError(
            f"{shard}: {member} ends after {start + len(found)} samples; its index says more."
        )
    if not np.isfinite(found).all():
        raise ShardError(f"{shard}: {member} holds samples that are NaN or infinite.")
    return found


def _check_header(block: bytes, shard: Path, member: str) -> None:
    """Check that the member's name is in the header; ShardError where it is not.

    Of a long name a header holds the beginning or the end; names outside ASCII are written in
    several ways and are not checked.
    """
    name = block[:100].rstrip(b"\0").decode(errors="replace")
    if len(block) < HEADER:
        raise ShardError(f"{shard} is cut short: it ends before {member}.")
    if member.isascii() and not (name and (member.startswith(name) or member.endswith(name))):
        raise ShardError(
            f"{shard} does not fit its index: {member} is not where it should be. Delete the index."
        )


def _part(stream: IO[bytes], member: str, start: int, samples: int) -> np.ndarray:
    """A part of a recording; of PCM and FLAC at 16 kHz in one read."""
    if not _is_pcm(stream):
        with closing(decoder_of(stream, member)) as decoder:
            check_header(decoder, member)
            return part_of(decoder, member, start, samples)
    with soundfile.SoundFile(stream) as sound:
        if sound.samplerate == SAMPLE_RATE and sound.format in SEEKABLE:
            if start:
                sound.seek(min(start, sound.frames))
            return mono(sound.read(samples, dtype="float32", always_2d=True))
        whole = mono(sound.read(dtype="float32", always_2d=True))
        joined = [np.zeros(0, np.float32), *resampled([whole], sound.samplerate)]
    return np.concatenate(joined)[start : start + samples]


def _is_pcm(stream: IO[bytes]) -> bool:
    begin = stream.read(4)
    stream.seek(0)
    return begin in PCM


class _TarMember(io.RawIOBase):
    """`size` bytes of a file from `offset` on, as a file of its own.

    The decoder's callbacks cannot raise, so an error of the disk is kept in `trouble`.
    """

    def __init__(self, file: _Descriptor, offset: int, size: int) -> None:
        self.file, self.offset, self.size, self.at = file, offset, size, 0
        self.trouble: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence], 0
        )
        return self.at

    def readinto(self, buffer: Any) -> int:
        try:
            wanted = max(min(len(buffer), self.size - self.at), 0)
            found = os.pread(self.file.number, wanted, self.offset + self.at)
            if len(found) < wanted and not found:
                raise OSError("the file is cut short")
        except OSError as error:
            self.trouble = error
            return 0
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


def index_of(shard: Path) -> ShardIndex:
    """A shard's index, made where it is missing.

    Raises ShardError for a damaged index or shard, and where the two do not belong together.
    """
    beside = index_path(shard)
    try:
        size = shard.stat().st_size
        if beside.is_file():
            index = ShardIndex.read(beside)
            if index.bytes != size:
                raise ShardError(
                    f"{shard} has {size} bytes, not {index.bytes} as its index says: it was cut "
                    f"short or replaced. Write it again, or delete {beside.name}."
                )
            return index
        index = _built(shard, size)
    except OSError as error:
        raise ShardError(f"{shard} cannot be read: {error.strerror}.") from None
    with suppress(OSError):  # a read-only folder or a full disk: the next call indexes it again
        index.write(beside)
    return index


def _built(shard: Path, size: int) -> ShardIndex:
    """Index a shard from its headers and those of its recordings."""
    rows: list[tuple[int, int, int, str, str, str | None, str | None]] = []
    file = _Descriptor(shard)
    with shard.open("rb") as stream:
        for key, fields in list_members(shard, stream).items():
            audio = audio_of(fields)
            if audio is not None:
                told = described(key, fields, stream)
                measured = _measured(_TarMember(file, audio.offset_data, audio.size))
                rows.append((audio.offset_data, audio.size, measured, audio.name, *told))
    if not rows:
        raise ShardError(f"{shard} holds no recordings.")
    offsets, sizes, samples, members, ids, texts, speakers = zip(*rows, strict=True)
    return ShardIndex(
        np.array(offsets, np.int64),
        np.array(sizes, np.int64),
        np.array(samples, np.int64),
        Strings.of(members),
        Strings.of(ids),
        Texts.of(texts),
        size,
        speakers=Texts.of(speakers),
    )


def _measured(part: _TarMember) -> int:
    """Samples of a recording at 16 kHz; 0 where it cannot be read."""
    stream = io.BufferedReader(part, 1 << 14)
    try:
        if not _is_pcm(stream):
            with closing(decoder_of(stream, "")) as decoder:
                check_header(decoder, "")
                frames = sum(len(piece) for piece in pieces(decoder, ""))
                return resampled_length(frames, decoder.rate)
        with soundfile.SoundFile(stream) as sound:
            frames = sound.frames
            if frames == UNKNOWN_LENGTH or sound.format not in SEEKABLE:
                frames = sum(len(block) for block in sound.blocks(1 << 16))
            return resampled_length(frames, sound.samplerate)
    except (soundfile.LibsndfileError, AudioError, OSError):
        return 0
