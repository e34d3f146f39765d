"""Beam search with a lexicon as tensor operations over many utterances, on a CPU or a GPU.

It maximises what `lm.search.flashlight` does, scores and prunes as flashlight-text's lexicon
decoder does, and differs from it in ties and in holding any number of words of one spelling. A
language model of the three verbs is asked once a frame, for the distinct pairs of a state and a
word that end on it. Python loops over frames only; where each hypothesis came from stays on the
device until the utterances have ended.

Legend: B utterances, T frames, V symbols, K places for hypotheses, F results, U sets of weights.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import NOTHING, Hypothesis
from lm.language_model import Caching, LanguageModel, ZeroLM
from lm.ngram.arrays import FixedNgramTensors, NgramTensors
from lm.ngram.layout import AutomatonArrays
from lm.search.batched.arcs import ArcTrie, build_arcs
from lm.search.batched.beam import HISTORY, LAST, NODE, STATE, Beam, best_distinct, extended
from lm.search.batched.frame import LISTED, FrameStep, Room, Work
from lm.search.batched.graph import FrameLoop
from lm.search.batched.language_models import AskedTensors, NoTensors, WordTensors
from lm.search.batched.states import WordStates
from lm.search.batched.trie import ROOT, Trie, build_trie, fits
from lm.search.context import ALONE, Context
from lm.search.greedy import valid_frames
from lm.search.paths import FoundPath, hypotheses
from lm.search.setup import SearchSetup
from lm.search.two_models import TwoModels

LEAST = -1e30  # log-probability that stands for minus infinity, which marks an empty place
TINY = 1e-300  # a weight that stands for 0
USUAL = 2048  # places for hypotheses at first, where the beam is wider
MEMORY = {"cpu": 1 << 30, "cuda": 8 << 30}  # bytes that utterances searched together may take


class SearchStopped(Exception):
    """The search was stopped from another thread."""


class _Found(NamedTuple):
    """F final hypotheses of each utterance, best first."""

    row: Tensor
    """(B, F) int64 place in the beam after the last frame."""
    score: Tensor
    """(B, F) float64, minus infinity for none."""
    language: Tensor
    """(B, F) float64 language model score, unweighted."""


class BatchedSearch:
    """A search ready to run. Building it asks the language model for every word's first score."""

    def __init__(
        self,
        setup: SearchSetup,
        lm: AutomatonArrays | LanguageModel[Any] | WordTensors | None,
        weights: DecodingWeights,
        options: BeamOptions,
        device: torch.device | str = "cpu",
    ) -> None:
        """Set the search up on `device`.

        lm: an n-gram's automaton; or any model whose `words` hold `setup.words`, or <unk> for those
        that they lack; or a model in tensors over `setup.words`; or None.
        Raises LanguageModelError for a model that has neither, SearchError for phrases so many
        that their tables would not fit.
        """
        self.setup, self.weights, self.options = setup, weights, options
        # The ways that lose are forgotten here: lists of the n best need the histories apart.
        alone = options.nbest == 1
        self._context = options.lm_context if alone else None
        self._by_state = options.recombine == "state" and alone and self._context is None
        self.device = torch.device(device)
        self._model = lm
        self._lm = _on_device(lm, setup.words, self.device)
        self._states = WordStates(self._lm, setup, self.device)
        lexicon, symbols = setup.spellings(), len(setup.vocabulary.symbols)
        build = build_trie if fits(lexicon, symbols) else build_arcs
        self._trie: Trie | ArcTrie = build(
            lexicon,
            self._states.first_scores().cpu().numpy().astype(np.float32),
            setup.bonuses if setup.hotwords else None,
            symbols,
            setup.vocabulary.blank,
            self.device,
        )
        self._width, self._times = min(options.width, USUAL), 1
        self.loop: FrameLoop | None = None
        """What searched the last utterances."""
        self.stopped = threading.Event()
        """Set from another thread, it ends a search with SearchStopped."""

    def __call__(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        weights: DecodingWeights | Sequence[DecodingWeights] | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> list[list[Hypothesis]]:
        """Search, with `weights` from this call on; None leaves them as they are.

        weights: one for all, or a sequence with those of each utterance, which hold for this call.
        """
        if isinstance(weights, DecodingWeights):
            self.weights, weights = weights, None
        if isinstance(self._model, TwoModels) and any(
            own.second_ratio != self._model.ratio for own in weights or [self.weights]
        ):
            raise ValueError(
                "This search keeps the ratio of both language models' weights that it began with."
            )
        return self.search(emissions, lengths, contexts, weights)

    def shortage(self) -> str | None:
        """A sentence where the language model had too little memory; once: see `Caching`."""
        return self._model.shortage() if isinstance(self._model, Caching) else None

    @torch.inference_mode()
    def search(
        self,
        emissions: np.ndarray,
        lengths: Sequence[int],
        contexts: Sequence[Context] | None = None,
        weights: Sequence[DecodingWeights] | None = None,
    ) -> list[list[Hypothesis]]:
        """Search (B, T, V) float32 log-probabilities with (B,) valid frames.

        contexts: (B,) what surrounds each utterance, which begins with its first entry; None where
        each is a sentence.
        weights: (B,) those of each utterance; None takes `self.weights` for all.
        Returns up to `nbest` hypotheses for each utterance, best first, different in their words.
        Raises ValueError for emissions of another vocabulary, SearchStopped once `stopped` is set.
        """
        count, vocabulary = len(lengths), self.setup.vocabulary
        tasks = [
            _Task(i, valid_frames(emission, length, vocabulary), own, context)
            for i, (emission, length, own, context) in enumerate(
                zip(
                    emissions,
                    lengths,
                    weights or [self.weights] * count,
                    contexts or [ALONE] * count,
                    strict=True,
                )
            )
        ]
        results = [[NOTHING] for _ in tasks]
        waiting = sorted((task for task in tasks if len(task.frames)), key=lambda t: -len(t.frames))
        while waiting:
            lot, waiting = self._lot(waiting)
            found, lost = self._search(lot)
            for task, hypothesis in zip(lot, found, strict=True):
                results[task.number] = hypothesis
            if lost:
                waiting = [*(lot[i] for i in lost), *waiting]
                self._make_room()
        return results

    def _lot(self, tasks: list[_Task]) -> tuple[list[_Task], list[_Task]]:
        """Divide tasks of falling length: those that are searched together now, and the rest."""
        columns = len(self._trie.symbols)
        if isinstance(self._trie, ArcTrie):
            columns = min(columns, LISTED * self._times)
        frames = len(tasks[0].frames) + 1
        each = 8 * (3 * self._width * columns + frames * 3 * len(self._trie.column))
        each += 4 * 3 * frames * self._width
        most = max(1, MEMORY[self.device.type] // each)
        return tasks[:most], tasks[most:]

    def _make_room(self) -> None:
        """Work with more room from now on, so that nothing is lost."""
        self._width, self._times = min(self.options.width, 2 * self._width), 2 * self._times
        self.loop = None

    def _search(self, tasks: list[_Task]) -> tuple[list[list[Hypothesis]], list[int]]:
        """Search utterances of falling length, none empty.

        Returns their hypotheses, and which utterances have to be searched again.
        """
        searched = [self.setup.searched(task.frames) for task in tasks]
        counts = [len(frames) for frames in searched]
        loop = self._prepared(any(task.weights.unk_score > -math.inf for task in tasks), counts)
        self._lm.begin()
        self._load(loop, searched, [task.weights for task in tasks])
        self._start(loop.work.beam, [task.context for task in tasks])
        for live in _going_on(counts):
            if self.stopped.is_set():
                raise SearchStopped
            loop.next(live)
        work = loop.work.first(len(tasks))
        ends = torch.tensor([[not task.context.goes_on] for task in tasks]).to(self.device)
        found = self._read(searched, tasks, work, self._finish(work, ends))
        return found, work.lost.flatten().nonzero().flatten().tolist()

    def _prepared(self, unknown: bool, counts: list[int]) -> FrameLoop:
        """The loop that searches utterances of these numbers of frames, the longest first."""
        ends = self._trie.ends(unknown)
        size = len(counts), counts[0]
        if self._lm.fixed and self.device.type == "cuda":  # recorded, so made for more than these
            size = _rounded(size[0]), _rounded(size[1])
            if self.loop is not None and self.loop.serves(ends, *size):
                return self.loop
        room = Room.of(self._width, len(self._trie.symbols), ends, self._times)
        step = FrameStep(
            self._trie,
            ends,
            self._states,
            silence=self.setup.silence,
            threshold=self.options.threshold,
            by_state=self._by_state,
            context=self._context,
            room=room,
            most=self.options.width,
        )
        self.loop = FrameLoop(step, step.memory(*size))
        return self.loop

    def _load(
        self, loop: FrameLoop, searched: list[np.ndarray], weights: list[DecodingWeights]
    ) -> None:
        """Write emissions and weights of utterances of falling length."""
        work, trie, ends = loop.work, self._trie, loop.ends
        count, symbols = len(searched), len(trie.column)
        # (T, V) each -> (T, B, V): the frames of one moment lie together
        padded = np.zeros((len(searched[0]), count, symbols), np.float32)
        for i, frames in enumerate(searched):
            padded[: len(frames), i] = frames
        heard = torch.from_numpy(padded).to(self.device).double().clamp_(min=LEAST)
        columns = _weight_columns(weights, self.setup, self.device)
        closed, limit = None, self.options.tokens
        if limit is not None and limit < symbols:
            closed = torch.ones_like(heard, dtype=torch.bool)
            closed.scatter_(2, heard.topk(limit, 2).indices, False)
        heard[:, :, self.setup.silence] += columns.pop().flatten()
        tried = heard if closed is None else heard.masked_fill(closed, -torch.inf)
        table = work.emissions[: len(padded), :count]
        table[:, :, :symbols] = heard
        stay, after = symbols + trie.stay, symbols + len(trie.symbols)
        table[:, :, symbols:after] = tried[:, :, trie.symbols]
        table[:, :, stay] = 0.0  # of the symbol that lasts, which each hypothesis adds itself
        table[:, :, stay + 1] = heard[:, :, self.setup.vocabulary.blank]
        table[:, :, after:] = tried[:, :, ends.symbols]
        for field, column in zip(work.weights, columns, strict=True):
            field[:count] = column
        work.lengths.zero_()
        work.lengths[:count, 0] = torch.tensor([len(frames) for frames in searched]).to(self.device)
        work.frame.zero_()
        work.lost.fill_(False)

    def _start(self, beam: Beam, contexts: list[Context]) -> None:
        """One hypothesis for each utterance: the words before it said, then silence."""
        beam.plain.fill_(-torch.inf)
        beam.plain[:, 0] = 0.0
        beam.said.zero_()
        beam.fields.zero_()
        beam.field(LAST).fill_(2 * self.setup.silence)
        beam.field(STATE)[: len(contexts)] = self._said(contexts)[:, None]

    def _said(self, contexts: list[Context]) -> Tensor:
        """(B,) states after the words of each first entry."""
        before = [context.entries[0].words for context in contexts]
        if not any(before):
            return self._states.start(len(contexts))
        index = {word: i for i, word in enumerate(self.setup.words)}
        unknown = len(self.setup.words) - 1
        said = [[index.get(word, unknown) for word in words] for words in before]
        return self._states.before(said, self.device)

    def _finish(self, work: Work, ends: Tensor) -> _Found:
        """The `nbest` of each utterance; `ends`, (B, 1) bool: whether its sentence ends, too."""
        beam, trie, weight = work.beam, self._trie, work.weights.language
        node, there = beam.field(NODE), beam.plain > -torch.inf
        # Only hypotheses between two words; all of an utterance that has none.
        between = there & (node == ROOT)
        there = torch.where(between.any(1, keepdim=True), between, there)
        last, taken_back = self._states.ended(beam.field(STATE), there & ends)
        promise, bonus = trie.own(node)
        said = promise + torch.where(there & ends, last, 0.0)
        score = beam.plain + weight * said
        if bonus is not None:
            score += bonus
        if taken_back is not None:
            score += torch.where(ends, taken_back, 0.0)
        score = torch.where(there, score, -torch.inf)
        score[score < score.amax(1, keepdim=True) - self.options.threshold] = -torch.inf
        count = self.options.nbest
        if self._by_state:
            keys = torch.arange(score.shape[1], device=self.device).expand_as(score)
        else:
            keys = beam.field(HISTORY)
        if count > 1 and bool((work.weights.unknown > -torch.inf).any()):
            # Unknown words differ in their letters, which are read later.
            keys, count = extended(node, keys), score.shape[1]
        rows, scores, _ = best_distinct(score, keys, count)
        return _Found(rows, scores, (beam.said + said).gather(1, rows))

    def _read(
        self, searched: list[np.ndarray], tasks: list[_Task], work: Work, found: _Found
    ) -> list[list[Hypothesis]]:
        """Follow the final hypotheses back, all at once, and read them from the device."""
        frames = len(searched[0])
        rows = found.row.new_empty(frames, *found.row.shape)  # (T, B, F) places after each frame
        row = found.row
        for t in range(frames - 1, -1, -1):
            rows[t] = row
            before = work.trace[t, 0].gather(1, row)
            row = torch.where(work.lengths > t, before.long(), row)
        words, last = (
            work.trace[:frames, i].gather(2, rows).permute(1, 2, 0).cpu().numpy() for i in (1, 2)
        )  # (B, F, T)
        scores, language = found.score.cpu().numpy(), found.language.cpu().numpy()
        results = []
        for i, (frame, task) in enumerate(zip(searched, tasks, strict=True)):
            paths = _paths(frame, last[i] >> 1, words[i], scores[i], language[i])
            results.append(hypotheses(task.frames, paths, self.setup, self.options.nbest))
        return results


class _Task(NamedTuple):
    """One utterance."""

    number: int
    frames: np.ndarray
    """(T, V) float32."""
    weights: DecodingWeights
    context: Context


def _going_on(counts: list[int]) -> Iterator[int]:
    """Of falling numbers of frames, for each frame how many utterances have it."""
    live = len(counts)
    for t in range(counts[0]):
        while counts[live - 1] <= t:
            live -= 1
        yield live


def _rounded(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


def _weight_columns(
    weights: list[DecodingWeights], setup: SearchSetup, device: torch.device
) -> list[Tensor]:
    """(B, 1) float64 each: of the language model, words and unknown words, and of silence."""
    table = torch.tensor(
        [
            # Not 0, so that what the trie closes, at minus infinity, stays closed.
            (
                max(own.lm_weight, TINY),
                own.word_score,
                own.unk_score,
                setup.sil_score(own.sil_score),
            )
            for own in weights
        ],
        dtype=torch.float64,
    )
    return list(table.to(device).split(1, 1))


def _paths(
    frames: np.ndarray,
    symbols: np.ndarray,
    words: np.ndarray,
    scores: np.ndarray,
    language: np.ndarray,
) -> Iterator[FoundPath]:
    """Yield the (F,) paths through (T, V) log-probabilities, until there are no more."""
    for path, ended, score, said in zip(symbols, words, scores.tolist(), language, strict=True):
        if score == -math.inf:
            return
        path, ended = path[: len(frames)].astype(np.int64), ended[: len(frames)]
        acoustic = float(frames[np.arange(len(frames)), path].sum(dtype=np.float64))
        whole = acoustic if math.isinf(acoustic) else score
        yield FoundPath(path, ended, whole, acoustic, float(said))


def _on_device(
    lm: AutomatonArrays | LanguageModel[Any] | WordTensors | None,
    words: Sequence[str],
    device: torch.device,
) -> WordTensors:
    """The model that answers in tensors of `device`, for words of these indices."""
    if lm is None or isinstance(lm, ZeroLM):
        return NoTensors(len(words), device)
    if isinstance(lm, AutomatonArrays):
        # Recorded graphs need the one; the other is less work, which a CPU does as it comes.
        tensors = FixedNgramTensors if device.type == "cuda" else NgramTensors
        return tensors(lm, words, device)
    if isinstance(lm, WordTensors):
        return lm
    return AskedTensors(lm, words, device)
