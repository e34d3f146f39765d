"""TIMIT's phones: the 61 of its labels, the 48 for training models, the 39 for scoring them.

Source: Lee and Hon (1989), "Speaker-independent phone recognition using hidden Markov models".
Closures and pauses become silence, the glottal stop `q` is dropped, allophones become their phone.
Phones are folded one by one: two silences that become neighbours remain two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

PhoneSet = Literal[61, 48, 39]

BLANK = "<pad>"
DELETED = "q"

# The phones of the 61 that are others among the 48.
TO_48 = {
    "ax-h": "ax", "axr": "er", "em": "m", "eng": "ng", "hv": "hh", "nx": "n", "ux": "uw",
    "pcl": "cl", "tcl": "cl", "kcl": "cl", "bcl": "vcl", "dcl": "vcl", "gcl": "vcl",
    "h#": "sil", "pau": "sil",
}  # fmt: skip
# The phones of the 48 that are others among the 39.
TO_39 = {
    "ao": "aa", "ax": "ah", "el": "l", "en": "n", "ix": "ih", "zh": "sh",
    "cl": "sil", "vcl": "sil", "epi": "sil",
}  # fmt: skip
PHONES = tuple(
    """aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv
    ih ix iy jh k kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh""".split()
)


class PhoneError(ValueError):
    """A symbol that is not a phone of TIMIT."""


def fold(phones: Iterable[str], size: PhoneSet) -> tuple[str, ...]:
    """Fold phones of any of the three sets into the set of `size` phones.

    Raises PhoneError for a symbol that is in none of the sets, or only in a smaller one.
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
    """The output symbols of a phone model: the blank, then the phones in alphabetical order."""
    return (BLANK, *sorted({phone for phone in _table(size).values() if phone is not None}))


def phone_set(symbols: Iterable[str]) -> PhoneSet | None:
    """Which of the three sets `symbols` are, with or without the blank; None for other symbols."""
    asked = {*symbols, BLANK}
    return next((size for size in get_args(PhoneSet) if asked == set(phone_labels(size))), None)


def _table(size: PhoneSet) -> dict[str, str | None]:
    """The target of every phone that can be folded into the set; None for one that is dropped."""
    if size == 61:
        return {phone: phone for phone in PHONES}
    table: dict[str, str | None] = {
        phone: TO_48.get(phone, phone) for phone in (*PHONES, "cl", "vcl", "sil")
    }
    if size == 39:
        table = {phone: TO_39.get(target or "", target) for phone, target in table.items()}
    return table | {DELETED: None}
