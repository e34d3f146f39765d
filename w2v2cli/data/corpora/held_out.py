"""The rules that keep train, dev and test apart where a corpus has no splits of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.hashing import bytes_hash

Split = Literal["train", "dev", "test"]
SHARE = 0.1  # of a corpus's audio in each part that is held out
LARGEST = 1.5  # times this share: a speaker who would exceed it stays in the training
SMALLEST = 0.25  # times this share: with less the speakers are too few, or too unequal


def split_of(utterance_id: str) -> Split:
    """The split of an utterance, by its id alone: one in ten is `test`, one in ten `dev`.

    The first 8 hexadecimal digits of the id's SHA-256, modulo 10: 0 is test, 1 is dev, the rest
    train. The rule must never change: models are trained and measured by it.
    """
    bucket = _hash(utterance_id) % 10
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def _hash(text: str) -> int:
    return int(bytes_hash(text.encode(errors="surrogateescape"))[:8], 16)


@dataclass(frozen=True)
class Division:
    """The split of each utterance of a corpus, and what decided."""

    splits: tuple[Split, ...]
    by_speaker: bool
    """Whether speakers are kept whole; otherwise the ids decided, by `split_of`."""


def divided(
    ids: Sequence[str],
    speakers: Sequence[str | None],
    lengths: Sequence[float],
    parts: Sequence[Split] = ("dev", "test"),
    *,
    most: float = float("inf"),
    seed: int = 0,
) -> Division:
    """Divide utterances into `parts` and `train`, each speaker whole where all are known.

    lengths: of each utterance, in any unit. most: largest part that is held out, in this unit.
    seed: with the speakers' names it decides their order, in which each part takes speakers until
    it has SHARE of the audio.

    Where a speaker is unknown, or the speakers are too few or too unequal for that, the ids decide.
    """
    chosen = _speakers(speakers, lengths, parts, most, seed)
    if chosen is None:
        found = [split_of(name) for name in ids]
        return Division(tuple(split if split in parts else "train" for split in found), False)
    return Division(tuple(chosen.get(str(speaker), "train") for speaker in speakers), True)


def _speakers(
    speakers: Sequence[str | None],
    lengths: Sequence[float],
    parts: Sequence[Split],
    most: float,
    seed: int,
) -> dict[str, Split] | None:
    """The part of each speaker that is held out; None where there is no fair choice."""
    totals: dict[str, float] = defaultdict(float)
    for speaker, length in zip(speakers, lengths, strict=True):
        if speaker is None:
            return None
        totals[speaker] += length
    goal = min(SHARE * sum(totals.values()), most)
    waiting = sorted(totals, key=lambda name: (_hash(f"{seed}/{name}"), name))
    chosen: dict[str, Split] = {}
    for part in parts:
        held = 0.0
        for speaker in [name for name in waiting if name not in chosen]:
            if held < goal and held + totals[speaker] <= LARGEST * goal:
                chosen[speaker] = part
                held += totals[speaker]
        if held < SMALLEST * goal or not held:
            return None
    return chosen
