"""Segments of a recording: one whose sentence began before goes on where the last one ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from lm.hypothesis import Hypothesis
from lm.search.context import ALONE, Context, carried

if TYPE_CHECKING:
    from w2v2cli.recognition.searching.spec import Searches
    from w2v2cli.recognition.segments import Segment

Found = Future[list[Hypothesis]]


class Chains:
    """A context manager that submits the segments of any number of recordings.

    Those of one sentence wait for each other; `lm.search.context.resolved` reads the results. A
    search without `exits` waits for nothing.
    """

    def __init__(self, pool: Searches) -> None:
        """pool: an open search."""
        self.pool, self.exits = pool, pool.spec.exits
        # A search that is done must not submit the next one itself: where there is no room it
        # would wait for its own thread.
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Chains:
        return self

    def __exit__(self, *_: object) -> None:
        """Submit nothing more."""
        self._events.put(None)

    def begin(self) -> Callable[[Segment], tuple[Segment, Found]]:
        """A recording: what is returned takes its segments, and gives each with its future."""
        return _Chain(self).take

    def tell(self, event: Callable[[], None]) -> None:
        """Have the thread of this object do something."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="chains", daemon=True)
            self._thread.start()
        self._events.put(event)

    def _work(self) -> None:
        while (event := self._events.get()) is not None:
            event()


class _Chain:
    """The segments of one recording. All but `take` runs in the thread of `chains`."""

    def __init__(self, chains: Chains) -> None:
        self.chains = chains
        self._goes_on = False  # whether the sentence of the last segment taken does
        self._entries = ALONE.entries
        self._waiting: deque[tuple[Segment, Found]] = deque()
        self._searching = False

    def take(self, segment: Segment) -> tuple[Segment, Found]:
        """Search a segment, once the one before was searched if its sentence goes on."""
        alone = segment.ends and not self._goes_on
        self._goes_on = not segment.ends
        if self.chains.exits == 0 or alone:
            return segment, self.chains.pool.submit(segment.emission)
        future: Found = Future()
        self.chains.tell(partial(self._join, segment, future))
        return segment, future

    def _join(self, segment: Segment, future: Found) -> None:
        self._waiting.append((segment, future))
        self._next()

    def _next(self) -> None:
        if self._searching or not self._waiting:
            return
        self._searching = True
        segment, future = self._waiting.popleft()
        context = Context(self._entries, goes_on=not segment.ends)
        search = self.chains.pool.submit(segment.emission, None, context)
        search.add_done_callback(
            lambda done: self.chains.tell(partial(self._searched, context, done, future))
        )

    def _searched(self, context: Context, search: Found, future: Found) -> None:
        self._searching = False
        if (error := search.exception()) is not None:
            future.set_exception(error)
        else:
            found = search.result()
            self._entries = ALONE.entries
            if context.goes_on:
                self._entries = carried(context, found, self.chains.exits)
            future.set_result(found)
        self._next()
