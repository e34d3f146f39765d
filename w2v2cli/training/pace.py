"""How long a run still takes: updates, validations and states timed apart, counted apart."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from models.config import SAMPLE_RATE, Wav2Vec2Config

RECENT = 200  # updates that an estimate looks back on
RECENT_OTHERS = 5  # validations, or states


@dataclass(frozen=True)
class Phase:
    """A part of a run whose updates take the same time."""

    first: int
    """Its first update."""
    work: float
    """Work for a second of audio, or a word: floating-point operations, or any other unit."""


def audio_work(model: Wav2Vec2Config, seconds: float) -> tuple[float, float]:
    """Operations for a second of audio in one forward pass of feature encoder and Transformer.

    seconds: length of the recordings, on which the share of attention depends.
    """
    encoder, context = model.forward_flops(max(int(seconds * SAMPLE_RATE), 1))
    return encoder / seconds, context / seconds


def stretches(phases: Sequence[Phase], done: int, updates: int) -> Iterator[tuple[Phase, int, int]]:
    """Yield the phases of a run that are not over, each with its updates that are left.

    done, updates: those done and those of the whole run. A stretch goes from `begin` to before
    `end`.
    """
    ends = [*(phase.first for phase in phases[1:]), updates]
    for phase, end in zip(phases, ends, strict=True):
        begin, end = max(phase.first, done), min(end, updates)
        if end > begin:
            yield phase, begin, end


class Pace:
    """The seconds that updates of each phase, validations and states take, and so the time left.

    Call `updated`, `validated` and `saved` after each of them: the time since the call before is
    its own. What has not been timed yet is derived from its work, where that is known.
    """

    def __init__(
        self,
        done: int,
        updates: int,
        *,
        validate_every: int = 0,
        save_every: int = 0,
        phases: Sequence[Phase] = (Phase(0, 1.0),),
        validation: float = 0.0,
    ) -> None:
        """Start the clock of a run of which `done` updates are done.

        validate_every, save_every: updates between two; 0 is never. validation: work of a
        validation in the unit of `phases`; 0 where it is unknown.
        """
        self.done, self.updates = done, updates
        self._every = validate_every, save_every
        self._phases, self._validation = phases, validation
        self._seconds: dict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._amounts: deque[float] = deque(maxlen=RECENT)
        self._first: set[Hashable] = set()  # phases whose only time is that of their first update
        self._mark = time.perf_counter()

    def updated(self, done: int, amount: float = 1.0) -> None:
        """Note that an update has ended: `done` are done now; it took `amount` seconds of audio."""
        phase = self._phase_of(done - 1)
        if phase in self._first:  # what is built, compiled and read ahead at first comes once
            self._first.discard(phase)
            self._seconds[phase].clear()
        elif not self._seconds[phase]:
            self._first.add(phase)
        self.done = done
        self._amounts.append(amount)
        self._lap(phase)

    def validated(self) -> None:
        """Note that a validation has ended."""
        self._lap(("validation", self._phase_of(self.done - 1)))

    def saved(self) -> None:
        """Note that a state has been written."""
        self._lap("state")

    @property
    def seconds_per_update(self) -> float:
        """Mean over the last updates; 0 before the first has ended."""
        return self._update_seconds(self._phase_of(self.done - 1)) if self._amounts else 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds to the end of the last update, validation and state; 0 before any is timed."""
        if not self._amounts:
            return 0.0
        left, (validate, save) = 0.0, self._every
        for phase, begin, end in stretches(self._phases, self.done, self.updates):
            left += (end - begin) * self._update_seconds(phase)
            left += self._due(validate, begin, end) * self._validation_seconds(phase)
        both = math.lcm(validate, save) if validate and save else 0
        states = sum(self._due(every, self.done, self.updates) for every in self._every)
        states -= self._due(both, self.done, self.updates)
        return left + states * _mean(self._seconds["state"], RECENT_OTHERS)

    def _lap(self, kind: Hashable) -> None:
        now = time.perf_counter()
        self._seconds[kind].append(now - self._mark)
        self._mark = now

    def _phase_of(self, update: int) -> Phase:
        return [phase for phase in self._phases if phase.first <= max(update, 0)][-1]

    def _due(self, every: int, begin: int, end: int) -> int:
        """How many updates after `begin` up to `end` are multiples of `every`, or the last one."""
        if not every or end <= begin:
            return 0
        last = end == self.updates and end % every != 0
        return end // every - begin // every + last

    def _update_seconds(self, phase: Phase) -> float:
        timed = [other for other in self._phases if self._seconds[other]]
        if phase in timed and (phase not in self._first or len(timed) == 1):
            return _mean(self._seconds[phase], RECENT)
        timed = [other for other in timed if other not in self._first] or timed
        return _mean(self._seconds[timed[-1]], RECENT) * phase.work / timed[-1].work

    def _validation_seconds(self, phase: Phase) -> float:
        kinds = [("validation", other) for other in (phase, *reversed(self._phases))]
        for kind in kinds:
            if self._seconds[kind]:
                return _mean(self._seconds[kind], RECENT_OTHERS)
        work = _mean(self._amounts, RECENT) * phase.work  # of an update
        return self._validation / work * self._update_seconds(phase) if work else 0.0


def _mean(values: deque[float], last: int) -> float:
    recent = list(values)[-last:]
    return sum(recent) / len(recent) if recent else 0.0
