"""The emissions of an utterance as a picture: symbols over time, the path found, the words.

Shapes: T frames, V symbols, R symbols shown.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from lm.hypothesis import Word
from w2v2cli.recognition.pages.heard import HeardUtterance
from w2v2cli.recognition.pages.markup import shown

LEAST = 0.1  # probability from which on a symbol has a row
MOST_ROWS = 48
LEVELS = 15  # shades, 0 the background
SHADE = (59, 130, 246)  # red, green, blue: seen on white and on black
FRAME, ROW = 4, 13  # pixels
HEAD, FOOT = 32, 22  # pixels above, for words, and below, for seconds
LINES = (13, 27)  # where the names of words stand, by turns
LETTER = 7  # pixels of a letter of a symbol's name


def picture(heard: HeardUtterance, name: str) -> str:
    """The picture as HTML; it scrolls where it is wider than the page. name: of the utterance."""
    rows = rows_of(heard)
    height = HEAD + ROW * len(rows) + FOOT
    width = max(len(heard.emission) * FRAME, 1)
    label = f"Emissions of {name}. Space plays, the arrow keys go from word to word."
    inside = f"{_image(heard, rows)}{_words(heard, height)}{_path(heard, rows)}"
    return (
        f'<div class="picture">{_symbols(heard, rows, height)}'
        f'<div class="scroll" tabindex="0" role="group" aria-label="{shown(label)}" '
        f'data-frames="{len(heard.emission)}" data-frame="{heard.frame_seconds:g}">'
        f'<svg width="{width}" height="{height}" aria-hidden="true">'
        f"{inside}{_seconds(heard, height)}"
        f'<path class="playhead" d="M0 0V{height - FOOT}"/></svg></div></div>'
    )


def rows_of(heard: HeardUtterance) -> list[int]:
    """The R symbols shown: those of the path, and those that are likely somewhere.

    Blank and word boundary come first, the others in the order of the alphabet.
    """
    likely = np.exp(heard.emission.max(0, initial=-np.inf))  # (T, V) -> (V,)
    likely[list({symbol for _, symbol in heard.path})] = 2.0  # before all others
    chosen = [int(i) for i in np.argsort(-likely, kind="stable")[:MOST_ROWS] if likely[i] >= LEAST]
    first = (heard.blank, heard.boundary)

    def place(symbol: int) -> tuple[int, str]:
        return (first.index(symbol) if symbol in first else len(first)), heard.symbols[symbol]

    return sorted(chosen, key=place)


def shades(heard: HeardUtterance, rows: list[int]) -> np.ndarray:
    """(R, T) integers in [0, LEVELS]: the square root of each probability, rounded."""
    probabilities = np.exp(heard.emission[:, rows].T)  # (T, V) -> (R, T)
    return np.rint(np.sqrt(probabilities) * LEVELS).clip(0, LEVELS).astype(np.uint8)


def png(levels: np.ndarray) -> bytes:
    """(R, T) integers in [0, LEVELS] as a PNG of one colour, from transparent to full."""
    rows, columns = levels.shape
    even = np.pad(levels, ((0, 0), (0, columns % 2)))
    packed = (even[:, ::2] << 4 | even[:, 1::2]).astype(np.uint8)  # two pixels a byte
    lines = np.pad(packed, ((0, 0), (1, 0)))  # each line begins with its filter, 0
    head = struct.pack(">IIBBBBB", columns, rows, 4, 3, 0, 0, 0)  # 4 bits, by palette
    clear = bytes(level * 255 // LEVELS for level in range(LEVELS + 1))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", head),
            (b"PLTE", bytes(SHADE) * (LEVELS + 1)),
            (b"tRNS", clear),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def _image(heard: HeardUtterance, rows: list[int]) -> str:
    if not rows or not len(heard.emission):
        return ""
    held = base64.b64encode(png(shades(heard, rows))).decode()
    size = f'width="{len(heard.emission) * FRAME}" height="{len(rows) * ROW}"'
    return (
        f'<image y="{HEAD}" {size} preserveAspectRatio="none" class="pixels" '
        f'href="data:image/png;base64,{held}"/>'
    )


def _symbols(heard: HeardUtterance, rows: list[int], height: int) -> str:
    """The names of the rows, which stay in sight when the picture is moved."""
    names = [_name(heard, symbol) for symbol in rows]
    width = max((len(name) for name in names), default=0) * LETTER + 6
    texts = "".join(
        f'<text x="{width - 4}" y="{HEAD + ROW * row + ROW - 3}">{shown(name)}</text>'
        for row, name in enumerate(names)
    )
    return (
        f'<svg class="symbols" width="{width}" height="{height}" aria-hidden="true">{texts}</svg>'
    )


def _name(heard: HeardUtterance, symbol: int) -> str:
    special = {heard.blank: "blank", heard.boundary: "space"}
    return special.get(symbol, heard.symbols[symbol])


def _words(heard: HeardUtterance, height: int) -> str:
    """A frame around the time of each word, and the word above it."""
    deep = height - FOOT
    return "".join(
        f'<g class="word" data-start="{word.start * heard.frame_seconds:.3f}">'
        f"<title>{shown(_told(heard, word))}</title>"
        f'<rect x="{word.start * FRAME}" width="{max(word.end - word.start, 1) * FRAME}" '
        f'height="{deep}"/>'
        f'<text x="{word.start * FRAME + 2}" y="{LINES[number % 2]}">{shown(word.text)}</text></g>'
        for number, word in enumerate(heard.words)
    )


def _told(heard: HeardUtterance, word: Word) -> str:
    start, end = word.start * heard.frame_seconds, word.end * heard.frame_seconds
    return f"{word.text}, {start:.2f} to {end:.2f} s, confidence {word.confidence:.2f}"


def _path(heard: HeardUtterance, rows: list[int]) -> str:
    """A line through the places where the symbols of the path begin, and a dot at each."""
    row = {symbol: number for number, symbol in enumerate(rows)}
    places = [
        f"{frame * FRAME + FRAME // 2} {HEAD + row[symbol] * ROW + ROW // 2}"
        for frame, symbol in heard.path
        if symbol in row
    ]
    if not places:
        return ""
    return (
        f'<path class="line" d="M{"L".join(places)}"/>'
        f'<path class="dots" d="{"".join(f"M{place}h0" for place in places)}"/>'
    )


def _seconds(heard: HeardUtterance, height: int) -> str:
    """The axis of time."""
    length = len(heard.emission) * heard.frame_seconds
    per_second = FRAME / heard.frame_seconds
    return "".join(
        f'<g class="tick"><path d="M{second * per_second:.0f} {height - FOOT}v5"/>'
        f'<text x="{second * per_second + 2:.0f}" y="{height - 6}">{second} s</text></g>'
        for second in range(int(length) + 1)
    )
