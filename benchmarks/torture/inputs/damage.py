"""Damage to bytes, drawn by chance."""

from __future__ import annotations

import random

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)  # bytes of numbers that lie


def flipped(whole: bytes, draw: random.Random, begin: int = 0, end: int | None = None) -> bytes:
    """One to eight bits flipped in a stretch."""
    content = bytearray(whole)
    end = len(content) if end is None else min(end, len(content))
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(begin, end)] ^= 1 << draw.randrange(8)
    return bytes(content)


def lying(whole: bytes, draw: random.Random, end: int) -> bytes:
    """One number of the first `end` bytes replaced by an extreme or a random one."""
    content, size = bytearray(whole), draw.choice((1, 2, 4, 8))
    at = draw.randrange(max(min(end, len(content)) - size, 1))
    extreme = bytes([draw.choice(EXTREMES)]) * size
    content[at : at + size] = draw.choice((extreme, draw.randbytes(size)))
    return bytes(content)


def cut(whole: bytes, draw: random.Random) -> bytes:
    """The end cut off."""
    return whole[: draw.randrange(len(whole))]


def spoilt(whole: bytes, draw: random.Random, begin: int = 0) -> bytes:
    """A stretch zeroed, replaced by noise, left out, or there twice."""
    at = draw.randrange(begin, len(whole))
    end = min(len(whole), at + draw.choice((1, 4, 64, 300, 4096)))
    stretch = whole[at:end]
    instead = draw.choice((bytes(end - at), draw.randbytes(end - at), b"", stretch * 2))
    return whole[:at] + instead + whole[end:]
