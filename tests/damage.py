"""Damage to files, drawn by chance."""

import random


def mutated(whole: bytes, draw: random.Random) -> bytes:
    """Some bytes of a file flipped, a stretch of it zeroed or shuffled, or its end cut off."""
    content, begin = bytearray(whole), draw.randrange(len(whole))
    end = min(len(whole), begin + draw.choice([1, 4, 64, 300, 4096]))
    kind = draw.randrange(4)
    if kind == 0:
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        content[begin:end] = bytes(end - begin)
    elif kind == 2:
        content[begin:end] = draw.randbytes(end - begin)
    else:
        del content[begin:]
    return bytes(content)
