"""Lists or lattices scored again with another language model (`--rescore`), behind `Searches`.

The first search keeps its own language model and weights. A thread takes what finished searches
found and has the second model score it together.
"""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.language_model import Stateful
from lm.rescoring import WithFloor, lm_scores, ranked
from lm.search.context import Context
from w2v2cli.recognition.options import RescoreOver
from w2v2cli.recognition.searching.build import open_language_model
from w2v2cli.recognition.searching.gathering import gather
from w2v2cli.recognition.searching.processes import STOPPED, Parts, SearchFailed, parts_later
from w2v2cli.recognition.searching.spec import SearchSpec

if TYPE_CHECKING:
    from lm.language_model import LanguageModel
    from w2v2cli.data.locations import LmLocation
    from w2v2cli.recognition.searching.lattices import LatticeReader
    from w2v2cli.recognition.searching.spec import Searches

TOGETHER = 32  # lists scored at once
NBEST = 100  # hypotheses that are scored again


@dataclass(frozen=True)
class Rescoring:
    """How lists are scored again."""

    lm: LmLocation
    weights: DecodingWeights
    """Weights of the second pass; the first search keeps its own."""
    first_pass_weight: float = 0.0
    """Weight of the first search's language model in the new score."""
    nbest: int = NBEST
    """Hypotheses of each utterance that are scored again."""
    over: RescoreOver = "nbest"
    """What is scored again: lists, or all that the search kept."""

    @property
    def what(self) -> str:
        """What is scored again, in words."""
        return "lattices" if self.over == "lattice" else f"{self.nbest}"


@dataclass(frozen=True)
class _Scored:
    """A list of the first search, with the second language model's score of each hypothesis."""

    nbest: list[Hypothesis]
    scores: list[float]


class _Asked(NamedTuple):
    """A list to score, or the lattice of its first hypothesis."""

    emission: np.ndarray
    """(T, V) log-probabilities."""
    key: bytes | None
    """What identifies the emission, where results are kept."""
    nbest: list[Hypothesis]
    futures: dict[Future[list[Hypothesis]], DecodingWeights]
    """Who waits for the list, and with which weights."""


class RescoringPool:
    """A search whose results are scored again. The weights given to `submit` are of that pass."""

    def __init__(
        self,
        inner: Searches,
        how: Rescoring,
        nbest: int,
        keep: bool = False,
        beam: BeamOptions | None = None,
    ) -> None:
        """Prepare a second pass.

        inner: a search that finds `how.nbest` hypotheses, or lattices (see `inner_beam`).
        nbest: how many hypotheses are returned.
        beam: over lattices, what is wanted of the hypotheses.
        keep: search and score every utterance once, and only weigh anew when it comes again with
        other weights (in tuning).
        """
        self.inner, self.how, self.nbest, self.keep = inner, how, nbest, keep
        self._beam = beam or BeamOptions(nbest=nbest)
        self._reader: LatticeReader | None = None
        self.spec: SearchSpec = inner.spec
        self.vocabulary = inner.vocabulary
        self.workers, self.at_once = inner.workers, inner.at_once
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._kept: dict[bytes, _Scored] = {}
        self._ready = threading.Event()
        self._failure: str | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="rescoring", daemon=True)

    def __enter__(self) -> RescoringPool:
        self.inner.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        """End both passes; lists that are not scored fail."""
        self._closed = True
        self.inner.__exit__(*details)
        self._asked.put(None)
        self._thread.join()

    def submit(
        self,
        emission: np.ndarray,
        weights: DecodingWeights | None = None,
        context: Context | None = None,
    ) -> Future[list[Hypothesis]]:
        """Search a (T, V) float32 emission and score the result again: see `Searches.submit`.

        The second language model takes every utterance for a sentence, whatever the context.
        """
        return self._put(emission, [weights or self.how.weights], context)[0]

    def submit_each(
        self, emission: np.ndarray, weights: Sequence[DecodingWeights]
    ) -> list[Future[Parts]]:
        """Search an emission, score the result once, and weigh it several times."""
        ranked = self._put(emission, weights, None)
        return [parts_later(future, each) for future, each in zip(ranked, weights, strict=True)]

    def _put(
        self, emission: np.ndarray, weights: Sequence[DecodingWeights], context: Context | None
    ) -> list[Future[list[Hypothesis]]]:
        futures: dict[Future[list[Hypothesis]], DecodingWeights] = {Future(): w for w in weights}
        key = hashlib.sha256(emission.tobytes()).digest() if self.keep else None
        if key is not None and (kept := self._kept.get(key)) is not None:
            for future, how in futures.items():
                future.set_result(self._ranked(kept, how))
            return list(futures)

        def searched(done: Future[list[Hypothesis]]) -> None:
            if (error := done.exception()) is not None:
                for future in futures:
                    future.set_exception(error)
            else:
                self._asked.put(_Asked(emission, key, done.result(), futures))

        self.inner.submit(emission, None, context).add_done_callback(searched)
        return list(futures)

    def wait_until_ready(self) -> None:
        """Wait until both language models are read. Raises SearchFailed if one is not."""
        self.inner.wait_until_ready()
        self._ready.wait()
        if self._failure is not None:
            raise SearchFailed(self._failure)

    def words(self) -> Sequence[str] | None:
        """The words that the first search can find: see `Searches.words`."""
        return self.inner.words()

    def _ranked(self, kept: _Scored, weights: DecodingWeights) -> list[Hypothesis]:
        return ranked(
            kept.nbest, kept.scores, weights, self.how.first_pass_weight, self.spec.hotwords
        )[: self.nbest]

    def _work(self) -> None:
        """Run the thread: open the language model, then score batches of lists until the end."""
        model: LanguageModel[Any] | None = None
        try:
            model = self._open()
            self._reader = self._opened_reader()
        except (ValueError, OSError) as error:
            self._failure = str(error)
        except Exception as error:  # a fault in the program: shown in full
            traceback.print_exc()
            self._failure = (
                f"The second language model could not be set up: {type(error).__name__}: {error}"
            )
        self._ready.set()
        while (asked := gather(self._asked, TOGETHER)) is not None:
            try:
                self._answer(asked, model)
            except Exception as error:  # whatever it is, those who wait for the results get it
                if not isinstance(error, SearchFailed | ValueError):
                    traceback.print_exc()
                failed = error if isinstance(error, SearchFailed) else SearchFailed(str(error))
                for future in [future for one in asked for future in one.futures]:
                    if not future.done():
                        future.set_exception(failed)

    def _open(self) -> LanguageModel[Any]:
        spec = self.spec
        assert spec.cache is not None
        model: LanguageModel[Any] = open_language_model(
            self.how.lm,
            cache=spec.cache,
            device=spec.device,
            lm_cache_gb=spec.lm_cache_gb,
            lm_precision=spec.lm_precision,
        )
        return WithFloor(model, spec.hotwords, spec.hotwords_floor) if spec.hotwords else model

    def _opened_reader(self) -> LatticeReader | None:
        if self.how.over == "nbest":
            return None
        from w2v2cli.recognition.searching.lattices import CONTEXT, LatticeReader

        context = CONTEXT if self.how.lm.kind == "transformer" else None
        return LatticeReader(self.spec, self._beam, context)

    def _answer(self, asked: Sequence[_Asked], model: LanguageModel[Any] | None) -> None:
        """Score lists together. Raises SearchFailed when they cannot be."""
        if model is None or self._closed:
            raise SearchFailed(self._failure or STOPPED)
        if self._reader is not None:
            self._answer_over_lattices(asked, model, self._reader)
            return
        scores = lm_scores([one.nbest for one in asked], model)
        if isinstance(model, Stateful):
            model.retain()  # the histories of this batch will hardly be asked for again
        for one, some in zip(asked, scores, strict=True):
            scored = _Scored(one.nbest, some)
            if one.key is not None:
                self._kept[one.key] = scored
            for future, how in one.futures.items():
                if future.set_running_or_notify_cancel():
                    future.set_result(self._ranked(scored, how))

    def _answer_over_lattices(
        self, asked: Sequence[_Asked], model: LanguageModel[Any], reader: LatticeReader
    ) -> None:
        """Score lattices together, for each set of weights that is asked for."""
        every = dict.fromkeys(how for one in asked for how in one.futures.values())
        for weights in every:
            some = [one for one in asked if weights in one.futures.values()]
            found = reader.read(
                [(one.emission, one.nbest) for one in some],
                model,
                weights,
                self.how.first_pass_weight,
            )
            for one, hypotheses in zip(some, found, strict=True):
                for future, how in one.futures.items():
                    if how == weights and future.set_running_or_notify_cancel():
                        future.set_result(hypotheses)
        if isinstance(model, Stateful):
            model.retain()
