"""TIMIT's phones: the 61 of its labels, the 48 that models are often trained on, the 39 that all are scored on.

Lee and Hon (1989), "Speaker-independent phone recognition using hidden Markov models": closures and pauses become
silence, the glottal stop `q` is dropped, allophones join their phone. Folding is symbol by symbol: two silences that come
to stand side by side stay two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

PhoneSet = Literal[61, 48, 39]

BLANK = "<pad>"
DELETED = "q"

# phone: what it is among the 48; those not named stay themselves
TO_48 = {
    "ax-h": "ax", "axr": "er", "em": "m", "eng": "ng", "hv": "hh", "nx": "n", "ux": "uw",
    "pcl": "cl", "tcl": "cl", "kcl": "cl", "bcl": "vcl", "dcl": "vcl", "gcl": "vcl", "h#": "sil", "pau": "sil",
}  # fmt: skip
# the same from the 48 to the 39
TO_39 = {
    "ao": "aa", "ax": "ah", "el": "l", "en": "n", "ix": "ih", "zh": "sh",
    "cl": "sil", "vcl": "sil", "epi": "sil",
}  # fmt: skip
PHONES = tuple(
    """aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k kcl l m n
    ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh""".split()
)


class PhoneError(ValueError):
    """A symbol that is no phone of TIMIT."""


def fold(phones: Iterable[str], size: PhoneSet) -> tuple[str, ...]:
    """Phones of any of the three sets as those of a set no larger.

    PhoneError names a symbol that belongs to none of them, or to a smaller set than `size`.
    """
    table = _table(size)
    folded = []
    for phone in phones:
        if phone not in table:
            raise PhoneError(
                f"{phone!r} is none of TIMIT's {size} phones, nor one that folds to them."
            )
        if (target := table[phone]) is not None:
            folded.append(target)
    return tuple(folded)


def phone_labels(size: PhoneSet) -> tuple[str, ...]:
    """Output symbols of a phone model: the blank, then the phones in the order of the alphabet."""
    return (BLANK, *sorted({phone for phone in _table(size).values() if phone is not None}))


def phone_set(symbols: Iterable[str]) -> PhoneSet | None:
    """Which of the sets `symbols` are, the blank aside; None for other phones."""
    asked = {*symbols, BLANK}
    return next((size for size in get_args(PhoneSet) if asked == set(phone_labels(size))), None)


def _table(size: PhoneSet) -> dict[str, str | None]:
    """Every phone that may be folded, and what becomes of it; None drops it."""
    if size == 61:
        return {phone: phone for phone in PHONES}
    table: dict[str, str | None] = {
        phone: TO_48.get(phone, phone) for phone in (*PHONES, "cl", "vcl", "sil")
    }
    if size == 39:
        table = {phone: TO_39.get(target or "", target) for phone, target in table.items()}
    return table | {DELETED: None}
