"""How much sound a file's header promises, where the decoders do not tell.

libsndfile takes what is there for the whole, whatever the header says; the tables of MP3 and the
last page of Ogg are not shown by PyAV.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from typing import IO

W64_RIFF = b"riff\x2e\x91\xcf\x11"
OGG_PAGE = b"OggS\0"
OGG_HEAD = 1 << 17  # bytes in which the first page begins; the largest page has 65 307
BEGINS = 2  # the flag of a stream's first page
TAGS = (b"TAG", b"APETAGEX", b"ID3", b"\0\0\0\0")  # of other formats, behind the last page
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MP3_HEAD = 1 << 16  # bytes after the ID3 tag in which the first frame is looked for
# Programs that write into a pipe cannot know the length and leave one of these, or a little less
# or more: 0, 2**31 - 1, 2**31, 2**32 - 1.
PLACEHOLDER = 0x7F00_0000
Chunk = tuple[bytes, int, int]  # name, offset of the content, size as the header states it


def bytes_missing(stream: IO[bytes]) -> tuple[int, int] | None:
    """Bytes of sound that are there, and those that the header promises beyond them.

    None where the header promises nothing that can be compared, and where all is there.
    """
    total = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(1024)
    found = _sound(stream, head)
    if found is None:
        return None
    begin, size = found
    if begin >= total or size <= total - begin:
        return None
    return total - begin, size - (total - begin)


def _sound(stream: IO[bytes], head: bytes) -> tuple[int, int] | None:
    """Offset and size of a file's samples by its header; None for a length that is left open."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _wave(stream, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        for name, at, size in _chunks(stream, 12, "big"):
            if name == b"SSND":
                return (at + 8, size - 8) if size < PLACEHOLDER else None
    elif head[:4] == b".snd":
        at, size = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
        return (at, size) if size < PLACEHOLDER else None
    elif head[:8] == W64_RIFF:
        return _w64(stream)
    elif head[:7] == b"NIST_1A":
        return _sphere(head)
    elif head[:4] == b"caff":
        return _caf(stream)
    return None


def _chunks(stream: IO[bytes], at: int, order: str) -> Iterator[Chunk]:
    """The chunks of an IFF or RIFF file."""
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "big" if order == "big" else "little")
        yield head[:4], at + 8, size
        at += 8 + size + size % 2


def _wave(stream: IO[bytes], order: str) -> tuple[int, int] | None:
    long_size = None
    for name, at, size in _chunks(stream, 12, order):
        if name == b"ds64":
            stream.seek(at + 8)
            long_size = int.from_bytes(stream.read(8), "little")
        if name == b"data":
            if size == 0xFFFF_FFFF and long_size:
                return at, long_size
            return (at, size) if size < PLACEHOLDER else None
    return None


def _w64(stream: IO[bytes]) -> tuple[int, int] | None:
    at = 40  # behind riff, its size and wave
    while True:
        stream.seek(at)
        head = stream.read(24)
        if len(head) < 24:
            return None
        size = int.from_bytes(head[16:], "little")  # with these 24 bytes
        if head[:4] == b"data":
            return (at + 24, size - 24) if size < 1 << 62 else None
        at += max(size + -size % 8, 24)


def _sphere(head: bytes) -> tuple[int, int] | None:
    sizes = re.match(rb"NIST_1A\s+(\d+)\s", head)
    values = dict(re.findall(rb"^(\w+) -i (\d+)", head, re.M))
    if not sizes or b"sample_count" not in values:
        return None
    size = int(values[b"sample_count"])
    for name in (b"sample_n_bytes", b"channel_count"):
        size *= int(values.get(name, 1))
    return int(sizes[1]), size


def _caf(stream: IO[bytes]) -> tuple[int, int] | None:
    at = 8
    while True:
        stream.seek(at)
        head = stream.read(12)
        if len(head) < 12:
            return None
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data":
            return (at + 12, size) if size >= 0 else None
        at += 12 + max(size, 0)


def mp3_frames(stream: IO[bytes]) -> int | None:
    """The number of frames in the table of an MP3 (Xing, Info or VBRI); None without one."""
    stream.seek(0)
    head = stream.read(10)
    begin = 0
    if head[:3] == b"ID3" and len(head) == 10:
        for byte in head[6:]:  # the size of the tag, 7 bits a byte
            begin = begin << 7 | byte & 0x7F
        begin += 10
    stream.seek(begin)
    data = stream.read(MP3_HEAD)
    sync = re.search(rb"\xff[\xe0-\xff][^\xff]", data)
    if sync is None:
        return None
    found = re.compile(rb"Xing|Info|VBRI").search(data, sync.start(), sync.start() + 200)
    if found is None:
        return None
    if found[0] == b"VBRI":
        return int.from_bytes(data[found.start() + 14 : found.start() + 18], "big") or None
    if not data[found.start() + 7 : found.start() + 8] or not data[found.start() + 7] & 1:
        return None
    return int.from_bytes(data[found.start() + 8 : found.start() + 12], "big") or None


def damaged_page(stream: IO[bytes]) -> str | None:
    """What is wrong with the pages of an Ogg file; None where they are whole.

    FFmpeg passes over pages that it cannot read, without a word. A page holds a checksum of all its
    bytes, and its number in its stream. Bytes before the first page, and tags behind the last one,
    are not the file's own. Source: RFC 3533, section 6.
    """
    stream.seek(0)
    begin = stream.read(OGG_HEAD).find(OGG_PAGE)
    stream.seek(max(begin, 0))
    at, known = max(begin, 0), dict[bytes, tuple[int, int]]()  # by stream: number, samples so far
    while head := stream.read(27):
        sizes = stream.read(head[26]) if len(head) == 27 and head.startswith(OGG_PAGE) else b""
        if not head.startswith(OGG_PAGE):
            return None if head.startswith(TAGS) else f"no page begins at byte {at}"
        body = stream.read(sum(sizes))
        if len(head) < 27 or len(sizes) < head[26] or len(body) < sum(sizes):
            return "it ends in the middle of a page"
        if _ogg_checksum(head[:22] + bytes(4) + head[26:] + sizes + body) != head[22:26]:
            return f"the page at byte {at} is damaged"
        samples, number = (int.from_bytes(head[a:b], "little") for a, b in ((6, 14), (18, 22)))
        before = known.get(head[14:18])
        # A recorder that joins a running stream gets its first pages, then those of the moment.
        if before is not None and number != before[0] + 1 and before[1] and not head[5] & BEGINS:
            return f"pages are missing at byte {at}"
        known[head[14:18]] = number, samples
        at += len(head) + len(sizes) + len(body)
    return None


def _ogg_checksum(page: bytes) -> bytes:
    """CRC-32 of the bits in their other order than zlib takes them, from 0, without inverting."""
    crc = zlib.crc32(page.translate(MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return crc.to_bytes(4, "big").translate(MIRRORED)
