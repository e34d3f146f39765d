"""All that a search kept, as a lattice: words between word ends, with their scores.

Legend: N nodes, A arcs, W different words, K words of a path.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lm.native.library import native, pointer

_Chain: TypeAlias = "tuple[int, _Chain] | None"  # the first of some numbers, and the others


@dataclass(frozen=True, eq=False)
class Lattice:
    """A graph whose paths are sequences of words, each with the frame on which it ends.

    Node 0 is the beginning, the last node the end of the utterance; a path leads from one to the
    other. Arcs are in the order of the nodes that they lead to, and lead forward. Two paths of the
    same words are two places where a word may end, or two ways to spell an unknown word.
    """

    words: tuple[str, ...]
    """(W,) the different words of the arcs."""
    times: np.ndarray
    """(N,) int32, frames that have passed. A word lasts from the end of the one before it."""
    starts: np.ndarray
    """(A,) uint32, the node that each arc leaves."""
    ends: np.ndarray
    """(A,) uint32, the node that it leads to."""
    labels: np.ndarray
    """(A,) int32, its word, an index of `words`; -1 from the last word to the end."""
    scores: np.ndarray
    """(A,) float64, what it adds to the score that the search maximised."""
    acoustic: np.ndarray
    """(A,) float64, natural log-probability of the best path through its frames."""
    lm: np.ndarray
    """(A,) float64, unweighted log p of its word after those before it; at the end, of the end."""

    def posteriors(self, scale: float = 1.0) -> np.ndarray:
        """(A,) the probability of each arc, where a path's is proportional to exp(scale * score).

        By the forward-backward algorithm: exact over the paths of the lattice.
        """
        arcs, found = self._arcs(), np.zeros(len(self.scores))
        done = native().posteriors(
            *map(pointer, arcs),
            len(self.scores),
            len(self.times),
            scale,
            pointer(found),
        )
        if not done:
            raise MemoryError("The lattice's posteriors do not fit in memory.")
        return found

    def expected_errors(self, words: Sequence[str], scale: float = 1.0) -> float:
        """Word errors of a transcript, if a path is right with its posterior at `scale`.

        A little more where one alignment does not suit all paths that meet (lm/native/risk.h).
        """
        return self._risk(words, scale, False)[0]

    def least_errors(self, words: Sequence[str], scale: float = 1.0) -> list[str]:
        """The transcript with the fewest expected errors among those reached from `words`.

        Minimum Bayes risk decoding, by rounds that each take the likeliest word of every place.
        """
        return self._risk(words, scale, True)[1]

    def _arcs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(A,) starts, ends and scores, as the library takes them."""
        starts, ends = (np.ascontiguousarray(a, np.uint32) for a in (self.starts, self.ends))
        return starts, ends, np.ascontiguousarray(self.scores, np.float64)

    def _risk(self, words: Sequence[str], scale: float, lower: bool) -> tuple[float, list[str]]:
        index = {word: i for i, word in enumerate(self.words)}
        # Words that the lattice lacks are all as wrong, and named by numbers that it lacks.
        given = np.array(
            [index.get(word, len(index) + i) for i, word in enumerate(words)], np.int32
        )
        arcs, labels = self._arcs(), np.ascontiguousarray(self.labels, np.int32)
        risk, found = np.zeros(1), np.zeros(len(labels) + len(given), np.int32)
        count = native().least_risk(
            *map(pointer, arcs),
            pointer(labels),
            len(labels),
            len(self.times),
            scale,
            pointer(given),
            len(given),
            pointer(risk),
            pointer(found) if lower else None,
        )
        if count < 0:
            raise MemoryError("The expected errors do not fit in memory.")
        texts = [*self.words, *words]
        return float(risk[0]), [texts[i] for i in found[:count].tolist()] if lower else []

    def best_paths(self, count: int) -> list[list[int]]:
        """The arcs of the best path of each of the `count` best sequences of words, best first.

        Ways are walked back from the end, best first; what is left of a way has an exact score. Of
        ways that meet after the same words only the first goes on.
        """
        best = self._forward()[0]
        into: list[list[int]] = [[] for _ in self.times]
        for arc, end in enumerate(self.ends.tolist()):
            into[end].append(arc)
        starts, labels, scores = (a.tolist() for a in (self.starts, self.labels, self.scores))
        last = len(self.times) - 1
        # (minus the score of the whole way, order, node, its words, its arcs, its score so far)
        ways: list[tuple[float, int, int, _Chain, _Chain, float]] = []
        if np.isfinite(best[last]):
            ways.append((-best[last], 0, last, None, None, 0.0))
        passed: set[tuple[int, tuple[int, ...]]] = set()
        found: list[list[int]] = []
        order = 0
        while ways and len(found) < count:
            _, _, node, words, path, so_far = heapq.heappop(ways)
            if (place := (node, tuple(_listed(words)))) in passed:
                continue
            passed.add(place)
            if node == 0:
                found.append(_listed(path))
            for arc in into[node]:
                start, label, score = starts[arc], labels[arc], so_far + scores[arc]
                if np.isfinite(total := best[start] + score):
                    order += 1
                    said = words if label < 0 else (label, words)
                    heapq.heappush(ways, (-total, order, start, said, (arc, path), score))
        return found

    def _forward(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) the best score of a path to each node, and (N,) its last arc, -1 for none."""
        best = np.full(len(self.times), -np.inf)
        best[0] = 0.0
        arrived = np.full(len(self.times), -1)
        totals = zip(self.starts.tolist(), self.ends.tolist(), self.scores.tolist(), strict=True)
        for arc, (start, end, score) in enumerate(totals):
            if best[start] + score > best[end]:
                best[end], arrived[end] = best[start] + score, arc
        return best, arrived

    def best_path(self) -> list[int]:
        """The arcs of the best path, in order; empty where there is none."""
        arrived = self._forward()[1]
        path: list[int] = []
        node = len(self.times) - 1
        while (arc := int(arrived[node])) >= 0:
            path.append(arc)
            node = int(self.starts[arc])
        return path[::-1]


def _listed(chain: _Chain) -> list[int]:
    """What a chain holds, in order."""
    found = []
    while chain is not None:
        found.append(chain[0])
        chain = chain[1]
    return found


def confidences(
    lattice: Lattice, posteriors: np.ndarray, words: Sequence[tuple[str, int, int]]
) -> list[float]:
    """(K,) for each (word, start, end) how probable it is that it was said then.

    start, end: frames; a word lasts from the end of the one before it. A word's probability on a
    frame is the sum of the `posteriors`, (A,), of its arcs over that frame; those of all words of
    a frame add up to 1, and so they compete. Of the word's frames the most probable counts
    (Wessel et al. 2001, "Confidence measures for large vocabulary continuous speech recognition",
    C_max).
    """
    index = {word: i for i, word in enumerate(lattice.words)}
    begins, ends = lattice.times[lattice.starts], lattice.times[lattice.ends]  # (A,) frames
    length = int(lattice.times[-1]) + 1
    found = []
    for word, start, end in words:
        arcs = np.flatnonzero(
            (lattice.labels == index.get(word, len(index))) & (begins < end) & (ends > start)
        )
        changes = np.bincount(begins[arcs], posteriors[arcs], length)
        changes -= np.bincount(ends[arcs], posteriors[arcs], length)
        on_frames = np.cumsum(changes)[start:end]
        found.append(float(min(max(on_frames.max(initial=0.0), 0.0), 1.0)))
    return found
