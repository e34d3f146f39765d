"""Forced alignment: the best CTC path through hours of emissions that writes known symbols.

The trellis is exact, without a beam. Its first pass keeps scores alone, and a copy of them every so
often; from the end back, the frames between two copies are run again, over the few symbols that a
path to the known end of these frames can touch, with a byte of back pointers for each. So memory
grows as (T N) to the power of 2/3 and not as T N, and time hardly more than by the first pass. That
one passes over the states that no whole path can be in: (T - N) N cells of T N are left.

Legend: T frames, V columns, N symbols to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

NEVER = -np.inf
STAYED, FROM_BLANK, FROM_SYMBOL = 0, 1, 2  # how a symbol's state was entered
BLANK_FROM_SYMBOL = 4  # set where the blank after the symbol was entered from it
FEWEST = 64  # frames between two copies, at least


@dataclass(frozen=True)
class ForcedPath:
    """The best path that writes some symbols."""

    places: np.ndarray
    """(T,) int32: which of the symbols each frame is on, -1 for the blank."""
    score: float
    """Log-probability of the path, the sum over its frames."""

    def spans(self, count: int) -> np.ndarray:
        """(count, 2) first frame of each symbol and the one after its last; -1 where left out."""
        found = np.full((count, 2), -1, np.int64)
        at = np.flatnonzero(self.places >= 0)
        which = self.places[at]
        found[which[::-1], 0] = at[::-1]
        found[which, 1] = at + 1
        return found


def frames_needed(symbols: Sequence[int]) -> int:
    """The frames that a path through `symbols` takes at least: two equal ones have a blank between.

    >>> frames_needed([3, 5, 5])
    4
    """
    return len(symbols) + sum(a == b for a, b in zip(symbols, symbols[1:], strict=False))


def forced_path(
    frames: np.ndarray,
    symbols: Sequence[int],
    blank: int,
    open_ends: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> ForcedPath | None:
    """The best path through (T, V) float32 log-probabilities that writes `symbols`.

    symbols: N columns of `frames`, none of them `blank`.
    open_ends: the first and the last symbol may be left out, as word boundaries that a recording
    need not have at its ends. It takes three symbols or more.
    on_progress: called now and then with the frames that the first pass has seen.

    Returns None where the frames are too few, or where no path is possible.
    """
    wanted = np.asarray(symbols, np.int64)
    if not len(frames) or (not len(wanted) and not np.isfinite(frames[:, blank]).all()):
        return None
    if not len(wanted):
        return ForcedPath(
            np.full(len(frames), -1, np.int32), float(frames[:, blank].sum(dtype=np.float64))
        )
    trellis = _Trellis(frames, wanted, blank, open_ends and len(wanted) > 2)
    places = trellis.best(on_progress)
    if places is None:
        return None
    columns = np.where(places < 0, blank, wanted[places])
    score = float(frames[np.arange(len(frames)), columns].sum(dtype=np.float64))
    return ForcedPath(places, score) if np.isfinite(score) else None


@dataclass
class _Scores:
    """Scores of the best paths that end in each state of a stretch of symbols."""

    blanks: np.ndarray
    """(n + 1,) float32: in the blank before each symbol, and after the last."""
    symbols: np.ndarray
    """(n,) float32: in each symbol."""

    def part(self, first: int, end: int) -> _Scores:
        """The scores of symbols `first` to `end`, with the blanks around them; not a copy."""
        return _Scores(self.blanks[first : end + 1], self.symbols[first:end])

    def copy(self) -> _Scores:
        """The scores as they are now."""
        return _Scores(self.blanks.copy(), self.symbols.copy())


class _Trellis:
    """All paths through the frames that write the symbols."""

    def __init__(self, frames: np.ndarray, wanted: np.ndarray, blank: int, open_ends: bool) -> None:
        self.frames, self.wanted, self.blank, self.open_ends = frames, wanted, blank, open_ends
        # Added to what comes from the symbol before: two equal symbols need a blank between them.
        self.skips = np.zeros(len(wanted), np.float32)
        self.skips[1:][wanted[1:] == wanted[:-1]] = NEVER
        self.every = max(FEWEST, round((4 * len(frames) * len(wanted)) ** (1 / 3)))

    def best(self, on_progress: Callable[[int], None]) -> np.ndarray | None:
        """(T,) the symbol of each frame on the best path, -1 for the blank; None without a path."""
        last = len(self.frames) - 1
        copies = []
        with np.errstate(invalid="ignore"):  # of states that nothing reaches yet
            scores = self._started()
            for first in range(0, len(self.frames), self.every):
                end = min(first + self.every, last)
                low, high = self._within(first, end)
                if low >= high:
                    return None
                _renormalise(scores.part(low, high))
                copies.append(scores.copy())
                for _ in self._run(scores.part(low, high), first, end, low, high):
                    pass
                on_progress(end + 1)
            at, on_blank = self._end(scores)
            if not np.isfinite(scores.blanks[at] if on_blank else scores.symbols[at]):
                return None
            places = np.full(len(self.frames), -1, np.int32)
            for number in range(len(copies) - 1, -1, -1):
                first = number * self.every
                end = min(first + self.every, last)
                at, on_blank = self._back(copies.pop(), first, end, (at, on_blank), places)
        places[0] = -1 if on_blank else at
        return places

    def _within(self, begin: int, end: int) -> tuple[int, int]:
        """The symbols from the first to before the last that whole paths are in on some frames.

        A path moves on by a symbol a frame at most, and one with open ends begins and ends one
        symbol further in. Blanks around these symbols are among the states; the rest is never read.
        """
        count, left = len(self.wanted), len(self.frames) - 1 - begin
        low = max(count - 1 - self.open_ends - left, 0)
        return low, min(end + 1 + self.open_ends, count)

    def _started(self) -> _Scores:
        """The scores on the first frame."""
        count = len(self.wanted)
        scores = _Scores(np.full(count + 1, NEVER, np.float32), np.full(count, NEVER, np.float32))
        for place in range(2 if self.open_ends else 1):
            scores.blanks[place] = self.frames[0, self.blank]
            scores.symbols[place] = self.frames[0, self.wanted[place]]
        return scores

    def _end(self, scores: _Scores) -> tuple[int, bool]:
        """The best state on the last frame: its place, and whether it is a blank."""
        count = len(self.wanted)
        states = [(count, True), (count - 1, False)]
        if self.open_ends:
            states += [(count - 1, True), (count - 2, False)]
        return max(states, key=lambda s: scores.blanks[s[0]] if s[1] else scores.symbols[s[0]])

    def _run(
        self, scores: _Scores, begin: int, end: int, first: int, after: int, told: bool = False
    ) -> Iterator[np.ndarray | None]:
        """Carry the scores of symbols `first` to `after` from frame `begin` to `end`, in place.

        Yields a byte of back pointers for each symbol after each frame if `told`, else None.
        """
        wanted, skips = self.wanted[first:after], self.skips[first:after]
        blanks, symbols = scores.blanks, scores.symbols
        entered, gains = np.empty_like(symbols), np.empty_like(symbols)
        for t in range(begin + 1, end + 1):
            frame = self.frames[t]
            top = frame.max()
            if not np.isfinite(top):
                top = np.float32(0.0)
            frame = frame - top  # so that the best paths' scores stay small, and exact
            entered[0] = NEVER
            np.add(symbols[:-1], skips[1:], out=entered[1:])
            pointers = None
            if told:
                better = blanks[:-1] > symbols
                pointers = np.where(better, FROM_BLANK, STAYED).astype(np.uint8)
                pointers[entered > np.maximum(symbols, blanks[:-1])] = FROM_SYMBOL
                pointers |= (symbols > blanks[1:]) * np.uint8(BLANK_FROM_SYMBOL)
            np.maximum(entered, blanks[:-1], out=entered)
            np.maximum(entered, symbols, out=entered)
            np.maximum(blanks[1:], symbols, out=blanks[1:])
            blanks += frame[self.blank]
            np.take(frame, wanted, out=gains)
            np.add(entered, gains, out=symbols)
            yield pointers

    def _back(
        self, scores: _Scores, begin: int, end: int, state: tuple[int, bool], places: np.ndarray
    ) -> tuple[int, bool]:
        """Write the path to `state` on frame `end`, back to the frame after `begin`.

        scores: of all symbols on frame `begin`. Returns the path's state there.
        """
        at, on_blank = state
        first = max(at - (end - begin) - 1, 0)  # a path moves on by a symbol a frame at most
        after = min(at + 1, len(self.wanted))
        part = scores.part(first, after).copy()
        pointers = list(self._run(part, begin, end, first, after, told=True))
        for t in range(end, begin, -1):
            places[t] = -1 if on_blank else at
            row = pointers.pop()
            assert row is not None
            if on_blank:
                if at > first and row[at - 1 - first] & BLANK_FROM_SYMBOL:
                    at, on_blank = at - 1, False
                continue
            came = int(row[at - first]) & ~BLANK_FROM_SYMBOL
            on_blank = came == FROM_BLANK
            at -= came == FROM_SYMBOL
        return at, on_blank


def _renormalise(scores: _Scores) -> None:
    """Subtract the best score, so that the scores near it keep their precision."""
    top = max(float(scores.blanks.max()), float(scores.symbols.max()))
    if np.isfinite(top):
        scores.blanks -= np.float32(top)
        scores.symbols -= np.float32(top)
