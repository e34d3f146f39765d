"""Which weights make the fewest errors on a corpus, for a tenth of the searches of a full scan.

Batches of points come from `lm.weights.proposals`. The first three points are searched in full,
and their n-best lists are kept. The errors of every other point are predicted from all lists so far
(`lm.weights.nbest_pool`). Only points that are predicted to beat the best one are searched, two by
two (`lm.weights.rounds`), in races against it (`lm.weights.racing`): a search stops as soon as the
point has lost for certain, or has lost but for a stated error rate. The lists of each search
sharpen the later predictions.

So there are three kinds of trials:

    exact      searched in full: the errors are those of a search
    stopped    a race that was lost: errors exact up to there, predicted for the rest
    predicted  not searched

The result is the best exact trial. With `exact` every trial is searched in full.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, NamedTuple, Protocol

import numpy as np

from lm.decoding import DecodingWeights
from lm.score_parts import ScoreParts
from lm.weights.nbest_pool import HypothesisPool
from lm.weights.proposals import BATCH, FIRST, Point, TuningError, batches, propose
from lm.weights.racing import Race, spent
from lm.weights.rounds import Lot, Round
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, bootstrap_interval
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.study import Search, Study

NBEST = 50  # hypotheses kept of each segment, for predictions
LEAST = 5  # full searches that a study may always spend, however few its trials
RACES = 2  # trials that race side by side: each utterance is searched with all their weights
ROUNDS, LAST_ROUNDS = 1, 4  # rounds of races after each batch, and after the last one
WAIT = 0.1  # seconds between two looks at the work of other processes
AHEAD = 2  # utterances in flight for each that is searched at once; a race may search them in vain

# An emission and several weights -> a future for each of the weights.
Submit = Callable[[np.ndarray, Sequence[DecodingWeights]], "list[Future[list[ScoreParts]]]"]


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


class _Job(NamedTuple):
    """An utterance to search."""

    place: int
    utterance: int
    weights: list[DecodingWeights]
    """Each of them is searched with."""


class _ClaimedLot:
    """Utterances of a round that this process searches."""

    def __init__(self, places: range, trials: list[int]) -> None:
        """places: in the round's order. trials: those that ran when the lot was claimed."""
        self.places, self.trials = places, trials
        self.errors: dict[int, dict[int, int]] = {trial: {} for trial in trials}
        """Trial -> place -> errors."""
        self.found: dict[int, dict[int, list[ScoreParts]]] = {trial: {} for trial in trials}
        """Trial -> segment -> hypotheses."""

    @property
    def is_whole(self) -> bool:
        """Whether every utterance was searched."""
        return all(len(errors) == len(self.places) for errors in self.errors.values())

    @property
    def result(self) -> Lot:
        """The errors in the order of the round."""
        errors = {t: [found[i] for i in self.places] for t, found in self.errors.items()}
        return Lot(self.places.start, errors)


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
        at_once: int = 1,
        on_progress: Callable[[int, str], None] = lambda trials, label: None,
    ) -> None:
        """Work begins with `run`.

        submit, workers, at_once: see `Searches.submit_each`, which starts the search of a segment.
        on_progress: called after each batch with the number of trials done and the best rate.
        """
        self.options, self.references, self.speech, self.study = options, references, speech, study
        self.workers, self.at_once = workers, at_once
        self._submit, self._on_progress = submit, on_progress
        # For each utterance the number of its first segment, counted over the corpus.
        self._firsts: list[int] = np.cumsum([0, *map(len, speech.segments)]).tolist()
        self._pool = HypothesisPool(self._firsts[-1])
        self._pooled: set[int] = set()
        self._whole = all(len(segments) == 1 for segments in speech.segments)
        self._known = np.full(self._pool.rows_in_all, -1)
        """Errors of each row of the pool; -1 where they are not counted yet."""

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
        longest_first = sorted(range(len(errors)), key=lambda utterance: -self._length(utterance))
        jobs = (_Job(place, utterance, [weights]) for place, utterance in enumerate(longest_first))
        with closing(self._searched(jobs)) as searched:
            for job, [lists] in searched:
                errors[job.utterance] = self._errors(job.utterance, lists)
        return errors

    def _plan(self, batch: int, number: int) -> list[Search]:
        """The searches of a round, a function of the study after the rounds before.

        A batch begins with the searches that must be made; then each round has the races of the
        `RACES` most promising trials, while there are some and the cost allows it.
        """
        shown = min((batch + 1) * BATCH, self.options.trials)
        if self.options.exact:
            return [Search(trial) for trial in range(batch * BATCH, shown)] if number == 0 else []
        if batch == number == 0:
            return [Search(trial) for trial in range(min(len(FIRST), shown))]
        done = self.study.searches()
        cost = sum(len(search.errors or ()) for search in done) / len(self.references)
        affordable = int(max(self.options.share * self.options.trials, LEAST) - cost)
        rounds = LAST_ROUNDS if shown == self.options.trials else ROUNDS
        best = self._best(done)
        if best is None or number >= rounds or affordable < 1:
            return []
        known = {search.trial for search in done}
        trials = [
            trial
            for trial in self._trials(self.study.points()[:shown])
            if trial.number not in known and trial.rate < self._rate(best)
        ]
        trials.sort(key=lambda trial: (trial.rate, trial.number))
        races = sum(search.rival is not None for search in done)
        return [
            Search(trial.number, best.trial, spent(self.options.alpha, races + i))
            for i, trial in enumerate(trials[: min(RACES, affordable)])
        ]

    def _run_round(self, batch: int, number: int) -> None:
        """Search a round together with other processes, to its end."""
        searches = self.study.searches(batch, number)
        generator = np.random.default_rng([self.options.seed, batch, number, 1])
        order = generator.permutation(len(self.references)).tolist()
        round_ = Round(order, {s.trial: self._race(s, order) for s in searches if s.kind is None})
        round_.add(self.study.lots(batch, number, 0))
        while round_.running:
            if not self._search_lots(batch, number, round_) and round_.running:
                time.sleep(WAIT)  # others are at work on the rest
                round_.add(self.study.lots(batch, number, round_.position))
        for search in searches:
            if (runner := round_.runners.get(search.trial)) is not None:
                done = replace(search, kind=runner.end, errors=round_.errors(search.trial))
                self.study.finish(done, self._segments(order[len(runner.errors) :]))

    def _search_lots(self, batch: int, number: int, round_: Round) -> bool:
        """Claim lots and search them, while there are any and the round is not decided.

        Returns whether there were any.
        """
        lots: dict[int, _ClaimedLot] = {}  # place in the order -> the lot that it belongs to

        def claimed() -> Iterator[_Job]:
            while trials := round_.running:
                most = self._ahead(len(trials))
                places = self.study.claim(batch, number, most, len(round_.order))
                if places is None:
                    return
                lot = _ClaimedLot(range(*places), trials)
                weights = [self._weights(trial) for trial in trials]
                # Utterances of similar length lie together: a batch is as long as its longest.
                for place in sorted(lot.places, key=lambda i: -self._length(round_.order[i])):
                    lots[place] = lot
                    yield _Job(place, round_.order[place], weights)

        some = False
        try:
            with closing(self._searched(claimed())) as searched:
                for job, found in searched:
                    some, lot = True, lots[job.place]
                    for trial, lists in zip(lot.trials, found, strict=True):
                        self._note(lot, job, trial, lists)
                    if lot.is_whole:
                        self.study.finish_lot(batch, number, lot.result, lot.found)
                        round_.add(self.study.lots(batch, number, round_.position))
                        if not round_.running:
                            break  # what is still being searched decides nothing
        finally:
            self.study.release()
        return some

    def _note(
        self,
        lot: _ClaimedLot,
        job: _Job,
        trial: int,
        lists: list[list[ScoreParts]],
    ) -> None:
        """Write down what a trial found in an utterance: the errors, and all for predictions."""
        lot.errors[trial][job.place] = self._errors(job.utterance, lists)
        if not self.options.exact:
            lot.found[trial] |= zip(self._segments([job.utterance]), lists, strict=True)

    def _race(self, search: Search, order: Sequence[int]) -> Race | None:
        """The race of a search against its rival, over utterances in this order."""
        if search.rival is None:
            return None
        [rival] = [other for other in self.study.searches() if other.trial == search.rival]
        errors = rival.errors or {}
        return Race([errors[utterance] for utterance in order], search.alpha or self.options.alpha)

    def _errors(self, utterance: int, lists: Sequence[Sequence[ScoreParts]]) -> int:
        """Errors of the best hypotheses of an utterance's segments."""
        text = " ".join(found[0].text for found in lists if found[0].text)
        return self.references.errors(utterance, text)

    def _searched(
        self, jobs: Iterator[_Job]
    ) -> Generator[tuple[_Job, list[list[list[ScoreParts]]]], None, None]:
        """Each job with the hypotheses of its segments, for each of its weights.

        Enough jobs for every worker are in flight; closing the generator cancels them.
        """
        pending: deque[tuple[_Job, list[list[Future[list[ScoreParts]]]]]] = deque()
        coming = next(jobs, None)
        try:
            while coming is not None or pending:
                while coming is not None and len(pending) < self._ahead(len(coming.weights)):
                    emissions = self.speech.of(coming.utterance)
                    # Segment after segment, a future for each of the weights.
                    futures = [self._submit(emission, coming.weights) for emission in emissions]
                    pending.append((coming, futures))
                    coming = next(jobs, None)
                job, futures = pending.popleft()
                found = [[future.result() for future in segment] for segment in futures]
                yield job, [[segment[i] for segment in found] for i in range(len(job.weights))]
        finally:
            for _, futures in pending:
                for future in [future for segment in futures for future in segment]:
                    future.cancel()

    def _ahead(self, weights: int) -> int:
        """How many utterances are searched with so many weights before the first is awaited."""
        return AHEAD * max(self.workers, self.at_once // weights, 1)

    def _weights(self, trial: int) -> DecodingWeights:
        return self.options.bounds.weights(self.study.points()[trial])

    def _length(self, utterance: int) -> int:
        """Frames of an utterance."""
        return sum(end - first for first, end in self.speech.segments[utterance])

    def _segments(self, utterances: Iterable[int]) -> list[int]:
        """The numbers of the segments of some utterances, counted over the corpus."""
        return [i for u in utterances for i in range(self._firsts[u], self._firsts[u + 1])]

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
                predicted[list(known)] = 0
                total += int(predicted.sum())
            trials.append(Trial(number, point, kind, total / self.references.length, len(known)))
        return trials

    def _predict(self, point: Point) -> np.ndarray:
        """(utterances,) errors at a point, predicted from the hypotheses found so far."""
        rows, firsts = self._pool.rows(self.options.bounds.weights(point)), self._firsts
        if not self._whole:  # an error count needs the texts of all segments
            texts = [self._pool.text(row) for row in rows.tolist()]
            joined = [
                " ".join(text for text in texts[first:end] if text)
                for first, end in zip(firsts, firsts[1:], strict=False)
            ]
            return np.array([self.references.errors(u, text) for u, text in enumerate(joined)])
        for utterance in np.flatnonzero(self._known[rows] < 0).tolist():
            row = int(rows[utterance])
            self._known[row] = self.references.errors(utterance, self._pool.text(row))
        return self._known[rows]

    def _learn(self, done: dict[int, Search]) -> None:
        """Add the hypotheses of searches that are not in the pool yet."""
        fresh = sorted(done.keys() - self._pooled)
        for trial in fresh:
            self._pooled.add(trial)
            for segment, parts in self.study.found(trial):
                self._pool.add(segment, parts)
        if fresh:
            self._known = np.full(self._pool.rows_in_all, -1)

    def _best(self, searches: Sequence[Search]) -> Search | None:
        """The exact search with the fewest errors, the first of several."""
        exact = [search for search in searches if search.kind == "exact"]
        return min(exact, key=lambda s: (sum((s.errors or {}).values()), s.trial), default=None)

    def _rate(self, search: Search) -> float:
        return sum((search.errors or {}).values()) / self.references.length
