"""Damage to bytes, drawn by chance."""

from __future__ import annotations

import json
import random
import re
from typing import Any

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


def strange(draw: random.Random) -> Any:
    """A JSON value that no program expects where it stands."""
    deep: Any = []
    for _ in range(draw.choice((3, 60, 500))):
        deep = [deep]
    numbers = (-1, 0, 1, 3, 2**31, 2**63, 10**30, -(10**18), 1e308, 0.5, float("nan"), float("inf"))
    texts = ("", "a", "a\0b", "\ud800", "../../etc", "x" * 5000, "1", "NaN", "true", "\x1b[2J", "é")
    containers: tuple[Any, ...] = ([], {}, [[]], {"": None}, [1, "a"], {"a": {"b": []}}, deep)
    return draw.choice((None, True, False, *numbers, *texts, *containers))


def reshaped(value: Any, draw: random.Random) -> Any:
    """A JSON value with one part of it, at any depth, replaced, left out or added."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return strange(draw)
    copy: Any = value.copy()
    key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
    chance = draw.random()
    if chance < 0.7:
        copy[key] = reshaped(value[key], draw)
    elif chance < 0.85:
        del copy[key]
    elif isinstance(copy, dict):
        copy[draw.choice(("", "x", "\0", str(key) * 2))] = strange(draw)
    else:
        copy.insert(key, strange(draw))
    return copy


def json_damaged(value: Any, draw: random.Random) -> bytes:
    """JSON of another shape, of absurd depth or with absurd numbers, or broken as text."""
    plain = json.dumps(value).encode()
    chance = draw.random()
    if chance < 0.75:
        text = json.dumps(reshaped(value, draw), ensure_ascii=draw.random() < 0.9)
        return text.encode(errors="surrogatepass")
    if chance < 0.8:
        depth = draw.choice((1_000, 100_000))
        return draw.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
    if chance < 0.85:
        digits = b"9" * draw.choice((400, 5000))
        return re.sub(rb"\d+", digits, plain, count=1) if re.search(rb"\d", plain) else digits
    if chance < 0.9:
        return draw.choice(
            (b"", b"\0" * 100, b"\xef\xbb\xbf" + plain, plain.decode().encode("utf-16"))
        )
    return draw.choice((flipped, cut, spoilt))(plain, draw)


NUMBERS = (
    "nan NaN inf -inf 1e400 -1e400 -- 1.2.3 0x10 １２ + - . 1_0 1e 99999999999999999999".split()
)
NUMBERS.append("9" * 5000)
WORDS = (
    "<s>",
    "</s>",
    "<unk>",
    "\0",
    "a\0b",
    "\u2028",
    "\x85",
    "\xa0",
    "\ufeff",
    "é" * 3000,
    "\x1b",
)


def text_damaged(text: str, draw: random.Random) -> bytes:
    """A text of lines with fields: a line, a field, a number, the spacing or the bytes wrong."""
    lines, chance = text.split("\n"), draw.random()
    text = text or "\n"
    at = draw.randrange(len(lines))
    if chance < 0.15:
        return draw.choice((flipped, cut, spoilt))(text.encode(), draw)
    if chance < 0.3:  # lines missing, twice, exchanged, or empty
        other = draw.randrange(len(lines))
        instead: list[list[str]] = [[], [lines[at]] * 2, [""], [lines[other]]]
        lines[at : at + 1] = draw.choice(instead)
    elif chance < 0.8:
        pieces = re.split(r"(\s)", lines[at])
        spot = draw.randrange(len(pieces))
        pieces[spot] = draw.choice((*NUMBERS, *WORDS, "", " ", "\t", "\t\t", "  ", "\r", "\v"))
        lines[at] = "".join(pieces)
    else:
        whole = "\n".join(lines)
        changed = (
            whole.replace("\n", "\r\n"),
            whole.replace("\n", "\r"),
            "\ufeff" + whole,
            whole.replace("\t", " "),
            whole.replace(" ", "\t"),
            whole * 2,
            whole + "\0" * 10,
            whole.lower(),
        )
        return draw.choice((*(part.encode() for part in changed), whole.encode("utf-16"), b""))
    return "\n".join(lines).encode()
