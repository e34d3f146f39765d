"""Which weights make the fewest errors on a corpus: at a tenth of the searches, with the optimum searched in full.

Batches of points come from `lm.weights.proposals`. The first three points are searched in full and keep n-best lists; every other
point's errors are predicted from all lists so far (`lm.weights.nbest_pool`). A point predicted to be better than the best known is
searched: a race against that best (`lm.weights.racing`), which stops when it cannot win, or cannot but at a stated error rate.
What the races find sharpens the predictions. So a trial is one of three kinds:

    exact      searched in full: its errors are those that a search makes
    stopped    searched until it was clear that another is better: errors so far exact, those of the rest predicted
    predicted  not searched

The optimum is the best exact trial. With `exact` every trial is searched in full, nothing is predicted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, Protocol

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.weights.nbest_pool import HypothesisPool, Parts, parts_of
from lm.weights.proposals import BATCH, FIRST, Bounds, Point, TuningError, batches, propose
from lm.weights.racing import Race, spent
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, bootstrap_interval
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.study import Search, Study

NBEST = 50  # hypotheses kept of each segment, for predictions
ALPHA = 0.05  # probability that any race of a study at all stops a point as good as its rival
SHARE = 0.1  # of the searches that all trials in full would take
LEAST = 5  # full searches' worth that a study may spend however few its trials
ROUNDS, LAST_ROUNDS = 2, 8  # of races after a batch, and after the last one
WAIT = 0.3  # seconds between looks at what another process is doing
AHEAD = (
    2  # utterances on their way for each search process: what a race may search beyond its verdict
)

Submit = Callable[[np.ndarray, DecodingWeights], "Future[list[Hypothesis]]"]


class Speech(Protocol):
    """The emissions of a corpus, as `emission_cache` keeps them."""

    @property
    def segments(self) -> Sequence[Sequence[tuple[int, int]]]: ...

    def of(self, utterance: int) -> list[np.ndarray]: ...


@dataclass(frozen=True)
class TuningOptions:
    """What is tried, and at what cost."""

    trials: int = 128
    bounds: Bounds = Bounds()
    seed: int = 0
    exact: bool = False
    """Search every trial in full."""
    share: float = SHARE
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise TuningError(f"--trials must be at least 1, got {self.trials}.")
        if not 0 < self.share <= 1:
            raise TuningError(f"--share must lie above 0 and be at most 1, got {self.share:g}.")


@dataclass(frozen=True)
class Trial:
    """A point and what is known of it."""

    number: int
    point: Point
    kind: Literal["exact", "stopped", "predicted"]
    rate: float
    searched: int
    """Utterances."""


@dataclass(frozen=True)
class Outcome:
    """What a tuning came to."""

    trials: tuple[Trial, ...]
    """In the order they were proposed."""
    best: Trial
    """The exact one of the lowest rate, the first of several."""
    weights: DecodingWeights
    interval: tuple[float, float]
    """95%, by the bootstrap over utterances."""
    utterances: int
    cost: int
    """Utterances searched, over all trials."""

    @property
    def share(self) -> float:
        """Of the searches that all trials in full would have taken."""
        return self.cost / (self.utterances * len(self.trials))


class Tuning:
    """A study being worked on."""

    def __init__(
        self,
        options: TuningOptions,
        references: References,
        speech: Speech,
        study: Study,
        submit: Submit,
        workers: int = 1,
        advance: Callable[[int, str], None] = lambda trials, label: None,
    ) -> None:
        """submit: begins a search. workers: how many run at once. advance: hears of trials done and of the best so far."""
        self.options, self.references, self.speech, self.study = options, references, speech, study
        self.workers, self._submit, self._advance = workers, submit, advance
        self._firsts = np.cumsum([0, *map(len, speech.segments)])
        self._pool = HypothesisPool(int(self._firsts[-1]))
        self._pooled: set[int] = set()
        self._stop = threading.Event()

    def run(self) -> Outcome:
        """Go on until every trial is done, together with whoever works on the same study."""
        for batch in range(batches(self.options.trials)):
            points = self.study.points()
            if len(points) <= batch * BATCH:
                values = [trial.rate for trial in self._trials(points)] if batch else []
                fresh = propose(self.options.bounds, self.options.seed, batch, points, values)
                self.study.add_points(batch, batch * BATCH, fresh)
            for number in count():
                if not self.study.has_round(batch, number):
                    self.study.add_round(batch, number, self._plan(batch, number))
                if not self.study.searches(batch, number):
                    break
                self._run_round(batch, number)
            best = self._best(self.study.searches())
            label = f"best so far {self._rate(best):.2%}" if best else ""
            self._advance(min((batch + 1) * BATCH, self.options.trials), label)
        return self.outcome()

    def outcome(self) -> Outcome:
        """What the study holds now."""
        searches = self.study.searches()
        trials = self._trials(self.study.points()[: self.options.trials])
        best = self._best([search for search in searches if search.trial < len(trials)])
        if best is None:
            raise TuningError("No trial was searched in full yet.")
        errors, lengths = best.errors or {}, self.references.lengths
        counts = [
            ErrorCounts(hits=n - errors[u], substitutions=errors[u]) for u, n in enumerate(lengths)
        ]
        return Outcome(
            tuple(trials),
            trials[best.trial],
            self.options.bounds.weights(trials[best.trial].point),
            bootstrap_interval(counts, self.options.seed),
            len(lengths),
            sum(len(search.errors or ()) for search in searches),
        )

    def _plan(self, batch: int, number: int) -> list[Search]:
        """The searches of a round: a function of the study as the rounds before left it."""
        shown = min((batch + 1) * BATCH, self.options.trials)
        if self.options.exact:
            return [Search(trial) for trial in range(batch * BATCH, shown)] if number == 0 else []
        if batch == number == 0:
            return [Search(trial) for trial in range(min(len(FIRST), shown))]
        done = self.study.searches()
        cost = sum(len(search.errors or ()) for search in done) / len(self.references)
        last = shown == self.options.trials
        best = self._best(done)
        if (
            best is None
            or number >= (LAST_ROUNDS if last else ROUNDS)
            or cost + 1 > max(self.options.share * self.options.trials, LEAST)
        ):
            return []
        known = {search.trial for search in done}
        trials = [
            trial
            for trial in self._trials(self.study.points()[:shown])
            if trial.number not in known
        ]
        if not trials:
            return []
        hope = min(trials, key=lambda trial: (trial.rate, trial.number))
        if hope.rate >= self._rate(best):
            return []
        races = sum(search.rival is not None for search in done)
        return [Search(hope.number, best.trial, spent(self.options.alpha, races))]

    def _run_round(self, batch: int, number: int) -> None:
        """Search what nobody else is searching, until the round is done."""
        todo = sum(search.kind is None for search in self.study.searches(batch, number))
        if todo < 2 or self.workers < 2:
            self._work(batch, number)
            return
        with ThreadPoolExecutor(min(todo, self.workers)) as threads:
            try:
                for each in [
                    threads.submit(self._work, batch, number)
                    for _ in range(min(todo, self.workers))
                ]:
                    each.result()
            except BaseException:
                self._stop.set()
                raise

    def _work(self, batch: int, number: int) -> None:
        while not self._stop.is_set():
            search = self.study.claim(batch, number)
            if search is None:
                if all(other.kind for other in self.study.searches(batch, number)):
                    return
                time.sleep(WAIT)
                continue
            try:
                done, found = self._search(search)
            except BaseException:
                self._stop.set()
                self.study.release(search.trial)
                raise
            self.study.finish(done, found)

    def _search(self, search: Search) -> tuple[Search, dict[int, list[Parts]]]:
        """Search utterance after utterance in the trial's own random order, to the end or to the race's verdict."""
        began = time.perf_counter()
        weights = self.options.bounds.weights(self.study.points()[search.trial])
        order = (
            np.random.default_rng([self.options.seed, search.trial, 1])
            .permutation(len(self.references))
            .tolist()
        )
        race = None
        if search.rival is not None:
            rival = next(
                other.errors or {} for other in self.study.searches() if other.trial == search.rival
            )
            race = Race([rival[utterance] for utterance in order], search.alpha or ALPHA)
        errors: dict[int, int] = {}
        found: dict[int, list[Parts]] = {}
        pending: deque[tuple[int, list[Future[list[Hypothesis]]]]] = deque()
        waiting = deque(order)
        while waiting or pending:
            if self._stop.is_set():
                raise TuningError("The tuning was stopped.")
            while waiting and len(pending) < AHEAD * self.workers:
                utterance = waiting.popleft()
                pending.append(
                    (utterance, [self._submit(e, weights) for e in self.speech.of(utterance)])
                )
            utterance, futures = pending.popleft()
            lists = [future.result() for future in futures]
            errors[utterance] = self.references.errors(
                utterance, " ".join(h[0].text for h in lists if h[0].words)
            )
            if not self.options.exact:
                first = int(self._firsts[utterance])
                found |= {
                    first + i: [parts_of(h, weights) for h in each] for i, each in enumerate(lists)
                }
            if race is not None and race.add(errors[utterance]) and len(errors) < len(order):
                for _, futures in pending:
                    for future in futures:
                        future.cancel()
                break
        kind: Literal["exact", "stopped"] = "exact" if len(errors) == len(order) else "stopped"
        return replace(search, kind=kind, errors=errors, seconds=time.perf_counter() - began), found

    def _trials(self, points: Sequence[Point]) -> list[Trial]:
        """Each point with what is known of it now."""
        done = {
            search.trial: search for search in self.study.searches() if search.errors is not None
        }
        if not self.options.exact:
            self._learn(done)
        trials = []
        for number, point in enumerate(points):
            known = done[number].errors or {} if number in done else {}
            kind = done[number].kind or "exact" if number in done else "predicted"
            total = sum(known.values())
            if kind != "exact":
                predicted = self._predict(point)
                total += sum(errors for u, errors in enumerate(predicted) if u not in known)
            trials.append(Trial(number, point, kind, total / self.references.length, len(known)))
        return trials

    def _predict(self, point: Point) -> list[int]:
        """Errors of each utterance at a point, by the hypotheses found so far."""
        texts = self._pool.best(self.options.bounds.weights(point))
        joined = [
            " ".join(text for text in texts[first:end] if text)
            for first, end in zip(self._firsts, self._firsts[1:], strict=False)
        ]
        return [self.references.errors(utterance, text) for utterance, text in enumerate(joined)]

    def _learn(self, done: dict[int, Search]) -> None:
        """Pool the hypotheses of searches that were not pooled yet."""
        for trial in sorted(done.keys() - self._pooled):
            self._pooled.add(trial)
            for segment, parts in self.study.found(trial):
                self._pool.add(segment, parts)

    def _best(self, searches: Sequence[Search]) -> Search | None:
        """The exact one with the fewest errors, the first of several."""
        exact = [search for search in searches if search.kind == "exact"]
        return min(exact, key=lambda s: (sum((s.errors or {}).values()), s.trial), default=None)

    def _rate(self, search: Search) -> float:
        return sum((search.errors or {}).values()) / self.references.length
