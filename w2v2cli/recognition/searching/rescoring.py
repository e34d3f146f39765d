"""n-best lists of a search, scored again with another language model (`--rescore`), behind the interface of a search.

The search keeps its own language model and weights. A thread gathers lists as searches end and has the second model score
them together.
"""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from lm.rescoring import UNK, lm_scores, ranked
from w2v2cli.recognition.searching.processes import STOPPED, SearchFailed
from w2v2cli.recognition.searching.spec import SearchSpec

if TYPE_CHECKING:
    from lm.language_model import LanguageModel
    from w2v2cli.data.locations import LmLocation
    from w2v2cli.recognition.searching.spec import Searches

TOGETHER = 32  # lists scored at once
PATIENCE = 0.02  # seconds to wait for another list
NBEST = 100  # hypotheses that are scored again


@dataclass(frozen=True)
class Rescoring:
    """How lists are scored again."""

    lm: LmLocation
    weights: DecodingWeights
    """Of the second language model, and of words; those of the search stay the search's."""
    first_pass_weight: float = 0.0
    """Of the search's language model in the new score."""
    nbest: int = NBEST
    """Hypotheses that are asked of the search."""


@dataclass(frozen=True)
class _Scored:
    """A list of the search, with what the second language model says of each of its hypotheses."""

    nbest: list[Hypothesis]
    scores: list[float]


_Asked = tuple[bytes | None, list[Hypothesis], DecodingWeights, "Future[list[Hypothesis]]"]


class RescoringPool:
    """A search whose results are scored again. `submit`'s weights are those of the second pass."""

    def __init__(self, inner: Searches, how: Rescoring, nbest: int, keep: bool = False) -> None:
        """inner: a search that finds `how.nbest` hypotheses. nbest: how many are handed on.

        keep: whether every utterance is searched and scored once, whatever weights come later (in tuning).
        """
        self.inner, self.how, self.nbest, self.keep = inner, how, nbest, keep
        self.spec: SearchSpec = inner.spec
        self.vocabulary = inner.vocabulary
        self.workers = inner.workers
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
        """End both; lists that are not scored fail."""
        self._closed = True
        self.inner.__exit__(*details)
        self._asked.put(None)
        self._thread.join()

    def submit(
        self, emission: np.ndarray, weights: DecodingWeights | None = None
    ) -> Future[list[Hypothesis]]:
        """Search a (T, V) float32 emission and score what is found again: see `SearchPool.submit`."""
        future: Future[list[Hypothesis]] = Future()
        how = weights or self.how.weights
        key = hashlib.sha256(emission.tobytes()).digest() if self.keep else None
        if key is not None and (kept := self._kept.get(key)) is not None:
            future.set_result(self._ranked(kept, how))
            return future

        def searched(done: Future[list[Hypothesis]]) -> None:
            if (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                self._asked.put((key, done.result(), how, future))

        self.inner.submit(emission).add_done_callback(searched)
        return future

    def wait_until_ready(self) -> None:
        """Return once both language models are read; SearchFailed says why one cannot be."""
        self.inner.wait_until_ready()
        self._ready.wait()
        if self._failure is not None:
            raise SearchFailed(self._failure)

    def _ranked(self, kept: _Scored, weights: DecodingWeights) -> list[Hypothesis]:
        return ranked(
            kept.nbest, kept.scores, weights, self.how.first_pass_weight, self.spec.hotwords
        )[: self.nbest]

    def _work(self) -> None:
        """The thread."""
        model: LanguageModel[Any] | None = None
        try:
            model = open_lm(self.how.lm, self.spec)
        except (ValueError, OSError) as error:
            self._failure = str(error)
        except Exception as error:  # a fault of ours: shown in full
            traceback.print_exc()
            self._failure = (
                f"The second language model could not be set up: {type(error).__name__}: {error}"
            )
        self._ready.set()
        while (asked := self._gather()) is not None:
            try:
                if model is None or self._closed:
                    raise SearchFailed(self._failure or STOPPED)
                scores = lm_scores([nbest for _, nbest, _, _ in asked], model)
                if (retain := getattr(model, "retain", None)) is not None:
                    retain()  # what this batch asked for will hardly be asked again
            except Exception as error:
                if not isinstance(error, SearchFailed | ValueError):
                    traceback.print_exc()
                for *_, future in asked:
                    future.set_exception(
                        error if isinstance(error, SearchFailed) else SearchFailed(str(error))
                    )
                continue
            for (key, nbest, weights, future), some in zip(asked, scores, strict=True):
                scored = _Scored(nbest, some)
                if key is not None:
                    self._kept[key] = scored
                future.set_result(self._ranked(scored, weights))

    def _gather(self) -> Sequence[_Asked] | None:
        """Lists to score together, at least one; None when it is time to end."""
        first = self._asked.get()
        if first is None:
            return None
        gathered = [first]
        while len(gathered) < TOGETHER:
            try:
                more = self._asked.get(timeout=PATIENCE)
            except Empty:
                break
            if more is None:
                self._asked.put(None)
                break
            gathered.append(more)
        return gathered


def open_lm(
    lm: LmLocation, spec: SearchSpec, tell: Callable[[str], None] = lambda sentence: None
) -> Any:
    """A language model of the three verbs, over its own words and <unk>. ValueError or OSError when it cannot be read."""
    assert lm.path is not None
    if lm.kind == "transformer":
        from lm.transformer.checkpoint import build_transformer
        from lm.transformer.fairseq import read_transformer
        from lm.transformer.model import TransformerLM
        from w2v2cli.recognition.devices import resolve_device

        checkpoint = read_transformer(lm.path, warn=tell)
        network = build_transformer(checkpoint).to(resolve_device(spec.device))
        return TransformerLM(
            network, checkpoint.dictionary, [*checkpoint.dictionary.words, UNK], spec.lm_cache_gb
        )
    if lm.kind == "kenlm":
        raise ValueError(
            f"--rescore takes a Transformer or an ARPA file, and {lm.path} is a binary of KenLM's."
        )
    from lm.ngram.arpa import read_unigrams
    from lm.ngram.automaton import open_automaton

    assert spec.cache is not None
    model, told = open_automaton(lm.path, spec.cache, [*read_unigrams(lm.path), UNK])
    for sentence in told:
        tell(sentence)
    return model
