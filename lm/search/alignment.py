"""Words that are known laid onto the frames: the best path that spells them.

Legend: T frames, V symbols, S states, P predecessors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class _States:
    """The states that a path may be in, in the order of time."""

    symbols: list[int] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    """Of each state, those that may come before it; each may last."""

    def add(self, symbol: int, before: Sequence[int]) -> int:
        """A state of `symbol`, after any of `before` that has another one."""
        place = len(self.symbols)
        self.symbols.append(symbol)
        self.before.append([place, *(s for s in before if self.symbols[s] != symbol)])
        return place


@dataclass(frozen=True)
class Aligned:
    """The best path of some words."""

    symbols: np.ndarray
    """(T,) int32, the symbol of each frame."""
    ends: tuple[int, ...]
    """The frame on which each word ends: that of its boundary, else the last of its letters."""


def aligned(
    frames: np.ndarray,
    words: Sequence[Sequence[Sequence[int]]],
    silence: int,
    blank: int,
    sil_score: float = 0.0,
) -> Aligned | None:
    """The best path through (T, V) log-probabilities that says `words`.

    words: the spellings of each word, without the boundary. silence: the boundary, or the blank
    where there is none. sil_score: added for each frame on the boundary.
    Returns None where the frames are too few.
    """
    states = _States()
    first = states.add(silence, [])
    states.before[first].append(states.add(blank, [first]))
    between = [0, 1]
    begins, ends = set(between), []
    for word in words:
        tails: list[int] = []
        for spelling in word:
            before = between
            for symbol in spelling:
                letter = states.add(symbol, before)
                if before is between and between == [0, 1]:
                    begins.add(letter)
                before = [letter, states.add(blank, [letter])]
            tails += before
        if silence == blank:
            ends.append({s for s in tails if states.symbols[s] != blank})
            between = tails
            continue
        boundary = states.add(silence, tails)
        pause = states.add(blank, [boundary])
        states.before[pause].append(states.add(silence, [pause]))
        ends.append({boundary})
        between = [boundary, pause, pause + 1]
    path = _best(frames, states, begins, between, silence, sil_score if silence != blank else 0.0)
    if path is None:
        return None
    last = silence == blank  # of a word's last letter the last frame, of a boundary the first
    places = [np.flatnonzero(np.isin(path, list(some))) for some in ends]
    return Aligned(
        np.array(states.symbols, np.int32)[path],
        tuple(int(at[-1] if last else at[0]) for at in places),
    )


def _best(
    frames: np.ndarray,
    states: _States,
    begins: set[int],
    final: Sequence[int],
    silence: int,
    sil_score: float,
) -> np.ndarray | None:
    """(T,) the state on each frame of the best path, or None where there is none."""
    count = len(states.symbols)
    widest = max(map(len, states.before))
    before = np.full((count, widest), count)  # (S, P); `count` is a state that is never reached
    for state, some in enumerate(states.before):
        before[state, : len(some)] = some
    symbols = np.array(states.symbols)
    gains = frames[:, symbols].astype(np.float64) + sil_score * (symbols == silence)  # (T, S)
    scores = np.full(count + 1, -np.inf)
    scores[list(begins)] = gains[0, list(begins)]
    came = np.zeros((len(frames), count), np.int64)
    for t in range(1, len(frames)):
        choices = scores[before]  # (S, P)
        best = choices.argmax(1)
        came[t] = before[np.arange(count), best]
        scores[:count] = choices[np.arange(count), best] + gains[t]
    state = max(final, key=lambda s: scores[s])
    if not np.isfinite(scores[state]):
        return None
    path = np.zeros(len(frames), np.int64)
    for t in range(len(frames) - 1, -1, -1):
        path[t] = state
        state = int(came[t, state])
    return path
