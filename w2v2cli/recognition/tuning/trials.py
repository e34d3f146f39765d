"""Which weights make the fewest errors on a corpus, for a tenth of the searches of a full scan.

Batches of points come from `lm.weights.proposals`. The first three points are searched in full,
and their n-best lists are kept. The errors of every other point are predicted from all lists so far
(`lm.weights.nbest_pool`). Only a point that is predicted to beat the best one is searched, in a
race against it (`lm.weights.racing`): the search stops as soon as the point has lost for certain,
or has lost but for a stated error rate. The lists of each search sharpen the later predictions.

So there are three kinds of trials:

    exact      searched in full: the errors are those of a search
    stopped    a race that was lost: errors exact up to there, predicted for the rest
    predicted  not searched

The result is the best exact trial. With `exact` every trial is searched in full.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, Protocol

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.weights.nbest_pool import HypothesisPool, ScoreParts, parts_of
from lm.weights.proposals import BATCH, FIRST, Point, TuningError, batches, propose
from lm.weights.racing import Race, spent
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, bootstrap_interval
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Search, Study

NBEST = 50  # hypotheses kept of each segment, for predictions
LEAST = 5  # full searches that a study may always spend, however few its trials
ROUNDS, LAST_ROUNDS = 2, 8  # races after each batch, and after the last one
WAIT = 0.3  # seconds between two looks at the work of other processes
AHEAD = 2  # utterances in flight for each search process; a race searches so many too many

Submit = Callable[[np.ndarray, DecodingWeights], "Future[list[Hypothesis]]"]


class Speech(Protocol):
    """The emissions of a corpus (`emission_cache.Emissions`)."""

    @property
    def segments(self) -> Sequence[Sequence[tuple[int, int]]]:
        """For each utterance (first frame, frame after the last) of each segment."""

    def of(self, utterance: int) -> list[np.ndarray]:
        """(T, V) log-probabilities of each segment of an utterance."""


@dataclass(frozen=True)
class Trial:
    """A point and its error rate."""

    number: int
    """Position in the order of the proposals."""
    point: Point
    kind: Literal["exact", "stopped", "predicted"]
    rate: float
    """Errors divided by the length of all references."""
    searched: int
    """Number of utterances that were searched."""


@dataclass(frozen=True)
class Outcome:
    """The trials of a study and the best of them."""

    trials: tuple[Trial, ...]
    """All trials, in the order of the proposals."""
    best: Trial
    """The exact trial with the lowest rate, the first of several."""
    weights: DecodingWeights
    """The weights of `best`."""
    interval: tuple[float, float]
    """95% interval of the rate of `best`, by the bootstrap over utterances."""
    utterances: int
    """Utterances of the corpus."""
    cost: int
    """Searches of one utterance, over all trials."""

    @property
    def share(self) -> float:
        """`cost` divided by the searches that all trials in full would have taken."""
        return self.cost / (self.utterances * len(self.trials))


class Tuning:
    """The work on a study; other processes may work on the same one."""

    def __init__(
        self,
        options: TuningOptions,
        references: References,
        speech: Speech,
        study: Study,
        submit: Submit,
        workers: int = 1,
        on_progress: Callable[[int, str], None] = lambda trials, label: None,
    ) -> None:
        """Work begins with `run`.

        submit: starts the search of a segment with given weights.
        workers: searches that run at once.
        on_progress: called after each batch with the number of trials done and the best rate.
        """
        self.options, self.references, self.speech, self.study = options, references, speech, study
        self.workers, self._submit, self._on_progress = workers, submit, on_progress
        # For each utterance the number of its first segment, counted over the corpus.
        self._firsts = np.cumsum([0, *map(len, speech.segments)])
        self._pool = HypothesisPool(int(self._firsts[-1]))
        self._pooled: set[int] = set()
        self._stop = threading.Event()

    def run(self) -> Outcome:
        """Work until every trial is done, here or in another process."""
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
            self._on_progress(min((batch + 1) * BATCH, self.options.trials), label)
        return self.outcome()

    def outcome(self) -> Outcome:
        """The result of the study as it stands. Raises TuningError if no trial is exact yet."""
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

    def errors_with(self, weights: DecodingWeights) -> list[int]:
        """Errors of each utterance with these weights: those of an exact trial, else searched."""
        points = self.study.points()
        for search in self.study.searches():
            known = search.errors or {}
            if search.kind == "exact" and self.options.bounds.weights(points[search.trial]) == (
                weights
            ):
                return [known[utterance] for utterance in range(len(self.references))]
        errors = [0] * len(self.references)
        with closing(self._searched(range(len(errors)), weights)) as searched:
            for utterance, lists in searched:
                errors[utterance] = self._errors(utterance, lists)
        return errors

    def _plan(self, batch: int, number: int) -> list[Search]:
        """The searches of a round, a function of the study after the rounds before.

        A batch begins with the searches that must be made; then each round has one race, of the
        most promising trial, while there is one and the cost allows it.
        """
        shown = min((batch + 1) * BATCH, self.options.trials)
        if self.options.exact:
            return [Search(trial) for trial in range(batch * BATCH, shown)] if number == 0 else []
        if batch == number == 0:
            return [Search(trial) for trial in range(min(len(FIRST), shown))]
        done = self.study.searches()
        cost = sum(len(search.errors or ()) for search in done) / len(self.references)
        affordable = cost + 1 <= max(self.options.share * self.options.trials, LEAST)
        rounds = LAST_ROUNDS if shown == self.options.trials else ROUNDS
        best = self._best(done)
        if best is None or number >= rounds or not affordable:
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
        """Do the searches that no other process has claimed, and wait for the others."""
        todo = sum(search.kind is None for search in self.study.searches(batch, number))
        at_once = min(todo, self.workers)
        if at_once < 2:
            self._work(batch, number)
            return
        with ThreadPoolExecutor(at_once) as threads:
            try:
                for each in [threads.submit(self._work, batch, number) for _ in range(at_once)]:
                    each.result()
            except BaseException:
                self._stop.set()
                raise

    def _work(self, batch: int, number: int) -> None:
        """Claim and do searches of a round until it is done."""
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

    def _search(self, search: Search) -> tuple[Search, dict[int, list[ScoreParts]]]:
        """Search the corpus with a trial's weights, to the end or until its race is lost.

        Utterances come in a random order of the trial's own. Returns the search with its errors,
        and the hypotheses of each segment.
        """
        began = time.perf_counter()
        weights = self.options.bounds.weights(self.study.points()[search.trial])
        generator = np.random.default_rng([self.options.seed, search.trial, 1])
        order = generator.permutation(len(self.references)).tolist()
        race = self._race(search, order)
        errors: dict[int, int] = {}
        found: dict[int, list[ScoreParts]] = {}
        with closing(self._searched(order, weights)) as searched:
            for utterance, lists in searched:
                errors[utterance] = self._errors(utterance, lists)
                if not self.options.exact:
                    first = int(self._firsts[utterance])
                    for i, hypotheses in enumerate(lists):
                        found[first + i] = [parts_of(h, weights) for h in hypotheses]
                if race is not None and race.add(errors[utterance]):
                    break
        kind: Literal["exact", "stopped"] = "exact" if len(errors) == len(order) else "stopped"
        return replace(search, kind=kind, errors=errors, seconds=time.perf_counter() - began), found

    def _race(self, search: Search, order: Sequence[int]) -> Race | None:
        """The race of a search against its rival, over utterances in this order."""
        if search.rival is None:
            return None
        [rival] = [other for other in self.study.searches() if other.trial == search.rival]
        errors = rival.errors or {}
        return Race([errors[utterance] for utterance in order], search.alpha or self.options.alpha)

    def _errors(self, utterance: int, lists: Sequence[Sequence[Hypothesis]]) -> int:
        """Errors of the best hypotheses of an utterance's segments."""
        text = " ".join(h[0].text for h in lists if h[0].words)
        return self.references.errors(utterance, text)

    def _searched(
        self, order: Sequence[int], weights: DecodingWeights
    ) -> Generator[tuple[int, list[list[Hypothesis]]], None, None]:
        """Each utterance of `order` with the hypotheses of its segments.

        AHEAD utterances for each worker are in flight; closing the generator cancels them.
        """
        pending: deque[tuple[int, list[Future[list[Hypothesis]]]]] = deque()
        waiting = deque(order)
        try:
            while waiting or pending:
                if self._stop.is_set():
                    raise TuningError("The tuning was stopped.")
                while waiting and len(pending) < AHEAD * self.workers:
                    utterance = waiting.popleft()
                    emissions = self.speech.of(utterance)
                    pending.append((utterance, [self._submit(e, weights) for e in emissions]))
                utterance, futures = pending.popleft()
                yield utterance, [future.result() for future in futures]
        finally:
            for _, futures in pending:
                for future in futures:
                    future.cancel()

    def _trials(self, points: Sequence[Point]) -> list[Trial]:
        """Each point with its errors: exact where it was searched, predicted elsewhere."""
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
        """Errors of each utterance at a point, predicted from the hypotheses found so far."""
        texts = self._pool.best(self.options.bounds.weights(point))
        joined = [
            " ".join(text for text in texts[first:end] if text)
            for first, end in zip(self._firsts, self._firsts[1:], strict=False)
        ]
        return [self.references.errors(utterance, text) for utterance, text in enumerate(joined)]

    def _learn(self, done: dict[int, Search]) -> None:
        """Add the hypotheses of searches that are not in the pool yet."""
        for trial in sorted(done.keys() - self._pooled):
            self._pooled.add(trial)
            for segment, parts in self.study.found(trial):
                self._pool.add(segment, parts)

    def _best(self, searches: Sequence[Search]) -> Search | None:
        """The exact search with the fewest errors, the first of several."""
        exact = [search for search in searches if search.kind == "exact"]
        return min(exact, key=lambda s: (sum((s.errors or {}).values()), s.trial), default=None)

    def _rate(self, search: Search) -> float:
        return sum((search.errors or {}).values()) / self.references.length
