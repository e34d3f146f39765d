"""The frames of a search one after the other, on a GPU as one recorded graph a frame.

A frame is more than a hundred small operations, and launching them takes longer than they run. A
recorded graph launches all at once. What it needs holds by construction: `FrameStep` works in
memory that stays where it is, in shapes that do not depend on the data, and asks the device
nothing.
"""

from __future__ import annotations

import torch

from lm.search.batched.frame import FrameStep, Work
from lm.search.batched.trie import Ends

WARM_UP = 3  # frames before recording, in which libraries set themselves up


class FrameLoop:
    """A step and the memory that it works in, with graphs for fewer and fewer utterances."""

    def __init__(self, step: FrameStep, work: Work) -> None:
        """On a GPU it records graphs, which writes into `work`: load the utterances afterwards."""
        self.work, self.ends = work, step.ends
        self.step = step
        """One frame."""
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        if work.frame.device.type == "cuda" and step.states.lm.fixed:
            self._record()

    def serves(self, ends: Ends, utterances: int, frames: int) -> bool:
        """Whether it searches words that end so, and has this much memory."""
        there = self.work.emissions.shape
        return ends is self.ends and frames <= there[0] and utterances <= there[1]

    def next(self, live: int) -> None:
        """Search the next frame; the first `live` utterances have it."""
        if self._graphs:
            self._graphs[min(size for size in self._graphs if size >= live)].replay()
        else:
            self.step(self.work.first(live))

    def _record(self) -> None:
        """Record a graph for all utterances, for half of them, and so on."""
        size, pool = len(self.work.lengths), None
        while size:
            some = self.work.first(size)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    some.frame.zero_()
                    self.step(some)
            torch.cuda.current_stream().wait_stream(stream)
            some.frame.zero_()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self.step(some)
            pool = graph.pool()
            self._graphs[size] = graph
            size //= 2
