"""Scripts that are written without spaces between words, where characters are what is counted."""

from __future__ import annotations

# First and last character of each block of such a script: Thai, Lao, Tibetan, Myanmar, Khmer, Tai,
# kana and Han.
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x0F00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19DF),
    (0x1A20, 0x1AAF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def is_unspaced(text: str) -> bool:
    """Whether most letters and marks of a text are of scripts without spaces between words."""
    if text.isascii():
        return False
    spoken = [character for character in text if character.isalpha() or ord(character) > 0x2FF]
    return 2 * sum(map(_without_spaces, spoken)) > len(spoken)


def characters_of(text: str) -> str:
    """The characters that an error rate counts: in scripts without spaces, spaces are none."""
    return "".join(text.split()) if is_unspaced(text) else text


def _without_spaces(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in UNSPACED)
