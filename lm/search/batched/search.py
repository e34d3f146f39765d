"""Beam search with a lexicon as tensor operations over many utterances, on a CPU or a GPU.

It maximises what `lm.search.flashlight` does, scores and prunes as flashlight-text's lexicon
decoder does, and differs from it in ties and in holding any number of words of one spelling. A
language model of the three verbs is asked once a frame, for the distinct pairs of a state and a
word that end on it. Python loops over frames only; where each hypothesis came from stays on the
device until the utterances have ended.

Legend: B utterances, T frames, V symbols, W words, N hypotheses, M candidates, F results.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import NOTHING, Hypothesis
from lm.language_model import LanguageModel, ZeroLM
from lm.ngram.arrays import NgramTensors
from lm.ngram.layout import AutomatonArrays
from lm.search.batched.beam import (
    Beam,
    Candidates,
    best_of,
    extended,
    indices,
    merge,
    merge_keys,
    mixed,
    top,
)
from lm.search.batched.language_models import AskedTensors, NoTensors, WordTensors
from lm.search.batched.trie import build_trie, spread
from lm.search.context import ALONE, Context
from lm.search.greedy import valid_frames
from lm.search.paths import FoundPath, hypotheses
from lm.search.setup import SearchSetup

LM_WEIGHT, WORD_SCORE, UNK_SCORE, SIL_SCORE = range(4)
ROOT = 0  # the trie's node between two words


class SearchStopped(Exception):
    """The search was stopped from another thread."""


class _Trace(NamedTuple):
    """One frame of the way back: a row for each hypothesis that the frame left."""

    parent: Tensor
    """(N,) int32 row of the hypothesis that it grew from, one frame earlier."""
    symbol: Tensor
    """(N,) int16 symbol of the frame."""
    word: Tensor
    """(N,) int32 word that ended on the frame, -1 for none."""


class _Found(NamedTuple):
    """F final hypotheses of utterances that have ended, best first within an utterance."""

    utterance: Tensor
    row: Tensor
    """(F,) int64 row in the trace of the utterance's last frame."""
    score: Tensor
    acoustic: Tensor
    language: Tensor


class BatchedSearch:
    """A search ready to run. Building it asks the language model for every word's first score."""

    def __init__(
        self,
        setup: SearchSetup,
        lm: AutomatonArrays | LanguageModel[Any] | None,
        weights: DecodingWeights,
        options: BeamOptions,
        device: torch.device | str = "cpu",
    ) -> None:
        """Set the search up on `device`.

        lm: an n-gram's automaton; or any model whose `words` hold `setup.words`, or <unk> for those
        that they lack; or None. Raises LanguageModelError for a model that does not.
        """
        self.setup, self.weights, self.options = setup, weights, options
        # The ways that lose are forgotten here: lists of the n best need the histories apart.
        self._by_state = options.recombine == "state" and options.nbest == 1
        self.device = torch.device(device)
        self._lm = _on_device(lm, setup.words, self.device)
        self._blank, self._silence = setup.vocabulary.blank, setup.silence
        scores = self._lm.first_scores().cpu().numpy().astype(np.float32)
        self._bonuses = torch.from_numpy(setup.bonuses).to(self.device)  # (W,)
        self._trie = build_trie(setup.spellings().rows(), scores, setup.bonuses, self.device)
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

        (B,) weights are those of each utterance in this call. Rows of one utterance with several
        weights ask the language model only once for what they share.
        """
        if not isinstance(weights, Sequence):
            self.weights = weights or self.weights
            weights = [self.weights] * len(lengths)
        return self.search(emissions, lengths, contexts, weights)

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
        weights: (B,) those of each utterance; None takes the search's own for all.
        Returns up to `nbest` hypotheses for each utterance, best first, different in their words.
        Raises ValueError for emissions of another vocabulary, SearchStopped once `stopped` is set.
        """
        valid = [
            valid_frames(emission, length, self.setup.vocabulary)
            for emission, length in zip(emissions, lengths, strict=True)
        ]
        spoken = [i for i, frames in enumerate(valid) if len(frames)]
        spoken.sort(key=lambda i: -len(valid[i]))
        each = [self.weights] * len(valid) if weights is None else weights
        self._rows = _RowWeights.of([each[i] for i in spoken], self.setup, self.device)
        results = [[NOTHING] for _ in valid]
        if spoken:
            surrounding = None if contexts is None else [contexts[i] for i in spoken]
            found = self._search([valid[i] for i in spoken], surrounding or [ALONE] * len(spoken))
            for i, hypothesis in zip(spoken, found, strict=True):
                results[i] = hypothesis
        return results

    def _search(
        self, utterances: list[np.ndarray], contexts: Sequence[Context]
    ) -> list[list[Hypothesis]]:
        """Search utterances of falling length, none empty."""
        searched = [self.setup.searched(frames) for frames in utterances]
        lengths = [len(frames) for frames in searched]
        # (T, V) each -> (T, B, V): the frames of one moment lie together
        padded = np.zeros((lengths[0], len(searched), searched[0].shape[1]), np.float32)
        for i, frames in enumerate(searched):
            padded[: len(frames), i] = frames
        emissions = torch.from_numpy(padded).to(self.device)
        allowed = self._allowed(emissions)
        self._lm.begin()
        ending = torch.tensor([not context.goes_on for context in contexts], device=self.device)
        beam, traces, found = self._start(contexts), [], []
        for t in range(lengths[0]):
            if self.stopped.is_set():
                raise SearchStopped
            beam, trace = self._step(beam, emissions[t], None if allowed is None else allowed[t])
            traces.append(trace)
            if lengths[-1] <= t + 1:  # the shortest utterances end here and leave the beam
                while lengths and lengths[-1] <= t + 1:
                    lengths.pop()
                found.append(self._finish(beam.take(beam.utterance >= len(lengths)), ending))
                beam = beam.take(beam.utterance < len(lengths))
        return self._read(utterances, traces, _Found(*map(torch.cat, zip(*found, strict=True))))

    def _start(self, contexts: Sequence[Context]) -> Beam:
        """One hypothesis for each utterance: the words before it said, then silence."""
        count = len(contexts)
        utterance = torch.arange(count, device=self.device)
        zeros = torch.zeros(count, dtype=torch.float64, device=self.device)
        root = torch.full_like(utterance, ROOT)
        state = self._said(contexts)
        return Beam(
            utterance=utterance,
            row=utterance,
            score=zeros,
            acoustic=zeros,
            language=zeros,
            history=state if self._by_state else mixed(root),
            state=state,
            node=root,
            token=torch.full_like(utterance, self._silence),
            blank=torch.zeros_like(utterance, dtype=torch.bool),
        )

    def _said(self, contexts: Sequence[Context]) -> Tensor:
        """(B,) states of the language model after the words of each first entry."""
        state = self._lm.start(len(contexts)).clone()
        before = [context.entries[0].words for context in contexts]
        if not any(before):
            return state
        index = {word: i for i, word in enumerate(self.setup.words)}
        unknown = len(self.setup.words) - 1
        for place in range(max(map(len, before))):
            longer = [i for i, words in enumerate(before) if place < len(words)]
            said = [index.get(before[i][place], unknown) for i in longer]
            rows = torch.tensor(longer, device=self.device)
            words = torch.tensor(said, device=self.device)
            state[rows] = self._lm.score(state[rows], words)[1]
        return state

    def _step(self, beam: Beam, frame: Tensor, allowed: Tensor | None) -> tuple[Beam, _Trace]:
        """Grow the beam by one frame.

        frame: (B, V) log-probabilities. allowed: (B, V) bool, the symbols that may be tried.
        """
        count, threshold = len(frame), self.options.threshold
        # N hypotheses -> M candidates, in two kinds: inside a word, and at the end of one.
        candidates, ends = self._grown(beam, frame, allowed)
        best = best_of(candidates.score, beam.utterance[candidates.parent], count)  # (B,)
        # log p is at most 0, so an end that falls short without the language model stays short.
        # Dropping it now is what keeps the model's batch small.
        ends = ends.take(ends.score >= (best - threshold)[beam.utterance[ends.parent]])
        if len(ends.parent):
            scored = self._scored(beam, ends)
            candidates = Candidates(*map(torch.cat, zip(candidates, scored, strict=True)))
        # Again, now that the ends have their whole score.
        utterance = beam.utterance[candidates.parent]  # (M,)
        best = best_of(candidates.score, utterance, count)
        candidates = candidates.take(candidates.score >= (best - threshold)[utterance])
        # Candidates that agree in all that the future depends on are one: the best of them.
        parent, word = candidates.parent, candidates.word
        utterance, history = beam.utterance[parent], candidates.state
        if not self._by_state:
            history = beam.history[parent]
            history = torch.where(word >= 0, extended(history, word), history)
        keys = merge_keys(
            utterance, history, candidates.node, candidates.token, candidates.blank, count
        )
        rows, scores = merge(keys, candidates.score)
        # M' distinct ones -> at most `width` of each utterance, utterances still in order
        kept = top(scores, utterance[rows], count, self.options.width)
        rows, scores = rows[kept], scores[kept]
        some = candidates.take(rows)
        grown = Beam(
            utterance=utterance[rows],
            row=torch.arange(len(rows), device=self.device),
            score=scores,
            acoustic=beam.acoustic[some.parent] + some.emitted,
            language=beam.language[some.parent] + some.language,
            history=history[rows],
            state=some.state,
            node=some.node,
            token=some.token,
            blank=some.blank,
        )
        return grown, _Trace(beam.row[some.parent].int(), some.token.short(), some.word.int())

    def _grown(
        self, beam: Beam, frame: Tensor, allowed: Tensor | None
    ) -> tuple[Candidates, Candidates]:
        """The candidates that end no word, and those that end one.

        The scores of the latter still lack what the language model says of the word.
        """
        trie = self._trie
        # (N,) nodes -> (A,) arcs that leave them, each with its hypothesis
        parent, arc = spread(trie.arc_first[beam.node], trie.arc_count[beam.node])
        token, node = trie.arc_token[arc], trie.arc_node[arc]
        if allowed is not None:
            tried = indices(allowed[beam.utterance[parent], token])
            parent, token, node = parent[tried], token[tried], node[tried]
        emitted = frame[beam.utterance[parent], token].double()
        silence = self._rows.at(SIL_SCORE, beam, parent) * (token == self._silence)
        score = beam.score[parent] + emitted + silence
        arcs = _Arcs(parent, token, node, emitted, score)
        deeper, ends = self._deeper(beam, arcs), self._word_ends(beam, arcs)
        stays = self._staying(beam, frame)
        return Candidates(*map(torch.cat, zip(deeper, *stays, strict=True))), ends

    def _deeper(self, beam: Beam, arcs: _Arcs) -> Candidates:
        """Candidates that go a symbol deeper into a word."""
        trie = self._trie
        # Not into leaves, which only end words. And a symbol only follows itself after a blank;
        # else it is the same symbol that lasts, which `_staying` adds.
        again = arcs.token == beam.token[arcs.parent]
        inside = indices((trie.arc_count[arcs.node] > 0) & (beam.blank[arcs.parent] | ~again))
        arcs = _Arcs(*(column[inside] for column in arcs))  # (A,) -> (A',)
        # The score holds the promise of the node it stands at: trade it for the next node's.
        before = beam.node[arcs.parent]
        promise = trie.promise[arcs.node] - trie.promise[before]
        bonus = trie.bonus[arcs.node] - trie.bonus[before]
        return Candidates(
            parent=arcs.parent,
            score=arcs.score + self._rows.at(LM_WEIGHT, beam, arcs.parent) * promise + bonus,
            emitted=arcs.emitted,
            language=promise,
            token=arcs.token,
            word=torch.full_like(arcs.parent, -1),
            node=arcs.node,
            blank=torch.zeros_like(arcs.parent, dtype=torch.bool),
            state=beam.state[arcs.parent],
        )

    def _word_ends(self, beam: Beam, arcs: _Arcs) -> Candidates:
        """Candidates that end a word with their symbol, without the language model's score."""
        trie, rows = self._trie, self._rows
        # At the root the same symbol again would say a word of one symbol anew on each frame.
        fresh = ~((arcs.token == beam.token[arcs.parent]) & (beam.node[arcs.parent] == ROOT))
        # (A,) arcs -> (E,) words at their nodes, each with its arc
        row, place = spread(trie.word_first[arcs.node], trie.word_count[arcs.node] * fresh)
        word, bonus = trie.word[place], rows.at(WORD_SCORE, beam, arcs.parent[row])
        if rows.unknown:
            # An unknown word may end wherever no word of the lexicon does.
            score = rows.at(UNK_SCORE, beam, arcs.parent)
            unknown = indices((trie.word_count[arcs.node] == 0) & (score > -math.inf))
            row = torch.cat([row, unknown])
            word = torch.cat([word, torch.full_like(unknown, len(self.setup.words) - 1)])
            bonus = torch.cat([bonus, score[unknown]])
        parent = arcs.parent[row]
        # The word's own bonus and score take the place of what its node promised.
        promised = trie.promise[beam.node[parent]]
        bonus = bonus + self._bonuses[word] - trie.bonus[beam.node[parent]]
        return Candidates(
            parent=parent,
            score=arcs.score[row] + bonus - rows.at(LM_WEIGHT, beam, parent) * promised,
            emitted=arcs.emitted[row],
            language=-promised,
            token=arcs.token[row],
            word=word,
            node=torch.full_like(parent, ROOT),
            blank=torch.zeros_like(parent, dtype=torch.bool),
            state=beam.state[parent],
        )

    def _staying(self, beam: Beam, frame: Tensor) -> tuple[Candidates, Candidates]:
        """Candidates that stay at their node: the symbol for another frame, and a blank.

        Between words the symbol that lasts is silence, whatever the last frame was.
        """
        rows = indices(~beam.blank | (beam.node == ROOT))
        token = torch.where(beam.node[rows] == ROOT, self._silence, beam.token[rows])
        silence = self._rows.at(SIL_SCORE, beam, rows) * (token == self._silence)
        same = _stays(beam, frame, rows, token, False, silence)
        rows = torch.arange(len(beam.node), device=self.device)
        blank = torch.full_like(rows, self._blank)
        return same, _stays(beam, frame, rows, blank, True, torch.zeros_like(beam.score))

    def _scored(self, beam: Beam, ends: Candidates) -> Candidates:
        """Ends of words with the language model's scores, and the states after them."""
        self._lm.expect(beam.state)
        scores, states = self._lm.score(ends.state, ends.word)
        score = ends.score + self._rows.at(LM_WEIGHT, beam, ends.parent) * scores
        return ends._replace(score=score, language=ends.language + scores, state=states)

    def _finish(self, beam: Beam, ending: Tensor) -> _Found:
        """End the utterances whose last frame was searched; the `nbest` of each.

        ending: (B,) bool, whether the sentence ends with the utterance.
        """
        count = int(beam.utterance[-1]) + 1 if len(beam.utterance) else 1
        # Only hypotheses between two words; all of an utterance that has none.
        between = best_of((beam.node == ROOT).double(), beam.utterance, count) > 0
        beam = beam.take((beam.node == ROOT) | ~between[beam.utterance])
        ends = self._lm.finish(beam.state)
        ends = torch.where(ending[beam.utterance], ends, torch.zeros_like(ends))
        score = beam.score + self._rows.columns[LM_WEIGHT, beam.utterance] * ends
        least = best_of(score, beam.utterance, count) - self.options.threshold
        kept = score >= least[beam.utterance]
        beam, score, ends = beam.take(kept), score[kept], ends[kept]
        none = torch.zeros_like(beam.token)
        keys = merge_keys(beam.utterance, beam.history, beam.node, none, none > 0, count)
        rows, scores = merge(keys, score)
        # Of hypotheses that only differ in the letters after their last word, the best one.
        keys = merge_keys(beam.utterance, beam.history, none, none, none > 0, count)[rows]
        distinct, scores = merge(keys, scores)
        rows = rows[distinct]
        kept = top(scores, beam.utterance[rows], count, self.options.nbest) if len(rows) else rows
        beam, ends, rows = beam.take(rows[kept]), ends[rows[kept]], rows[kept]
        return _Found(beam.utterance, beam.row, scores[kept], beam.acoustic, beam.language + ends)

    def _read(
        self, utterances: list[np.ndarray], traces: list[_Trace], found: _Found
    ) -> list[list[Hypothesis]]:
        """Follow the final hypotheses back, all at once, and read them from the device."""
        counts = [len(frames) + self.setup.ends_with_blank for frames in utterances]
        ends = torch.tensor(counts, device=self.device)[found.utterance]  # (F,)
        # (T, F) symbols and words, filled from the last frame to the first
        shape = (len(traces), len(ends))
        symbols = torch.full(shape, self._blank, dtype=torch.int16, device=self.device)
        words = torch.full(shape, -1, dtype=torch.int32, device=self.device)
        row = found.row
        for t in range(len(traces) - 1, -1, -1):
            trace, inside = traces[t], ends > t  # shorter utterances join on their last frame
            place = torch.where(inside, row, 0)
            symbols[t] = torch.where(inside, trace.symbol[place], symbols[t])
            words[t] = torch.where(inside, trace.word[place], words[t])
            row = torch.where(inside, trace.parent[place].long(), row)
        columns = (found.utterance, found.score, found.acoustic, found.language)
        read = zip(*(column.cpu().tolist() for column in columns), strict=True)
        every_symbol, every_word = symbols.T.cpu().numpy(), words.T.cpu().numpy()  # (F, T)
        paths: list[list[FoundPath]] = [[] for _ in utterances]
        for i, (utterance, *scores) in enumerate(read):
            end = counts[utterance]
            path = FoundPath(every_symbol[i, :end].astype(np.int64), every_word[i, :end], *scores)
            paths[utterance].append(path)
        return [
            hypotheses(frames, some, self.setup, self.options.nbest)
            for frames, some in zip(utterances, paths, strict=True)
        ]

    def _allowed(self, emissions: Tensor) -> Tensor | None:
        """(T, B, V) bool, the symbols of each frame that may lead deeper; None for all."""
        tokens = self.options.tokens
        if tokens is None or tokens >= emissions.shape[2]:
            return None
        return torch.zeros_like(emissions, dtype=torch.bool).scatter_(
            2, emissions.topk(tokens, 2).indices, True
        )


class _RowWeights(NamedTuple):
    """The weights of each utterance of a call."""

    columns: Tensor
    """(4, B) float64: a row for each of LM_WEIGHT, WORD_SCORE, UNK_SCORE and SIL_SCORE."""
    unknown: bool
    """Whether any utterance may have unknown words."""

    @classmethod
    def of(
        cls, weights: Sequence[DecodingWeights], setup: SearchSetup, device: torch.device
    ) -> _RowWeights:
        rows = [
            (w.lm_weight, w.word_score, w.unk_score, setup.sil_score(w.sil_score)) for w in weights
        ]
        columns = torch.tensor(rows, dtype=torch.float64, device=device).reshape(-1, 4)
        return cls(columns.T.contiguous(), any(w.unk_score > -math.inf for w in weights))

    def at(self, which: int, beam: Beam, parent: Tensor) -> Tensor:
        """(M,) the weight of the utterance of each hypothesis in `parent`."""
        return self.columns[which, beam.utterance[parent]]


class _Arcs(NamedTuple):
    """(A,) arcs of the trie that leave the beam's hypotheses on one frame."""

    parent: Tensor
    """Row of the hypothesis."""
    token: Tensor
    node: Tensor
    """Where the arc leads to."""
    emitted: Tensor
    """Log-probability of the symbol."""
    score: Tensor
    """The hypothesis's score with it."""


def _stays(
    beam: Beam, frame: Tensor, rows: Tensor, token: Tensor, blank: bool, bonus: Tensor
) -> Candidates:
    """The hypotheses in `rows`, with another frame of (rows,) symbols, at the same node."""
    emitted = frame[beam.utterance[rows], token].double()
    return Candidates(
        parent=rows,
        score=beam.score[rows] + emitted + bonus,
        emitted=emitted,
        language=torch.zeros_like(emitted),
        token=token,
        word=torch.full_like(rows, -1),
        node=beam.node[rows],
        blank=torch.full_like(rows, blank, dtype=torch.bool),
        state=beam.state[rows],
    )


def _on_device(
    lm: AutomatonArrays | LanguageModel[Any] | None, words: Sequence[str], device: torch.device
) -> WordTensors:
    """The model that answers in tensors of `device`, for words of these indices."""
    if lm is None or isinstance(lm, ZeroLM):
        return NoTensors(len(words), device)
    if isinstance(lm, AutomatonArrays):
        return NgramTensors(lm, words, device)
    return AskedTensors(lm, words, device)
