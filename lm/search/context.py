"""What was said before an utterance, and whether its sentence goes on after it.

A long recording is cut into pieces that are searched one after another. A piece that begins inside
a sentence begins where the search of the one before ended: in several entries, one for each state
of the language model that was left, until the next words tell which of them was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lm.hypothesis import Hypothesis

EXITS = 16  # hypotheses of different states that are carried over a cut
REMEMBERED = 64  # words of a history: more than any n-gram looks back, and enough for a Transformer


@dataclass(frozen=True)
class Entry:
    """One way to have begun."""

    words: tuple[str, ...] = ()
    """The words before the utterance, the latest ones; none at the beginning of a sentence."""
    score: float = 0.0
    """What this way has before the first frame, beside the other entries."""


@dataclass(frozen=True)
class Context:
    """The surroundings of an utterance."""

    entries: tuple[Entry, ...] = (Entry(),)
    """At least one, the likeliest first: an engine that can begin in one way takes that."""
    goes_on: bool = False
    """Whether the sentence goes on after the last frame: then its end is not scored."""


ALONE = Context()
"""An utterance that is a sentence."""


def carried(context: Context, found: Sequence[Hypothesis], exits: int) -> tuple[Entry, ...]:
    """The entries of the next piece, after a piece in which `found` was found, best first.

    exits: how many of them are carried.
    """
    before = [context.entries[hypothesis.entry] for hypothesis in found]
    totals = [entry.score + h.score for entry, h in zip(before, found, strict=True)]
    order = range(len(found))[:exits]
    return tuple(
        Entry(
            (*before[i].words, *(word.text for word in found[i].words))[-REMEMBERED:],
            totals[i] - totals[0],
        )
        for i in order
    )


def resolved(pieces: Sequence[Sequence[Hypothesis]]) -> list[list[Hypothesis]]:
    """The hypotheses of consecutive pieces; in each, the one that the last one came from is first.

    Each hypothesis names its entry, which is its place among the hypotheses of the piece before.
    """
    chosen: list[list[Hypothesis]] = []
    place = 0
    for found in reversed(pieces):
        first = found[place]
        chosen.append([first, *(other for other in found if other is not first)])
        place = first.entry
    return chosen[::-1]


def settled(pieces: Sequence[Sequence[Hypothesis]], exits: int, ended: bool) -> int:
    """How many of the first pieces stay as `resolved` has them, whatever comes after.

    exits: how many hypotheses of the last piece are carried.
    ended: whether its sentence ends with it, so that nothing after it begins in one of them.
    """
    ways = {0} if ended else set(range(exits))
    for count in range(len(pieces), 0, -1):
        found = pieces[count - 1]
        ways = {way for way in ways if way < len(found)}
        if len(ways) == 1:
            return count
        ways = {found[way].entry for way in ways}
    return 0
