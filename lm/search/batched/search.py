"""Beam search with a lexicon as tensor operations over the hypotheses of many utterances at once, on a CPU or a GPU.

It maximises what `lm.search.flashlight` does, scores and prunes as flashlight-text's lexicon decoder does, and differs
from it only in ties. Any language model of the three verbs is asked once a frame, for the distinct pairs of a state and a word that end on it. Python loops over frames only;
where each hypothesis came from stays on the device until the utterances have ended.
Legend: B utterances, T frames, V symbols, N hypotheses, M candidates, F hypotheses returned.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import Hypothesis
from lm.language_model import LanguageModel, ZeroLM
from lm.ngram.arpa_automaton import AutomatonArrays
from lm.ngram.arrays import NgramTensors
from lm.search.batched.beam import (
    Beam,
    Candidates,
    best_of,
    extended,
    merge,
    merge_keys,
    mixed,
    top,
)
from lm.search.batched.language_models import UNK, AskedTensors, NoTensors, WordTensors
from lm.search.batched.paths import Path, hypotheses
from lm.search.batched.trie import build_trie, spread
from lm.search.greedy import valid_frames
from lm.text.lexicon import Lexicon, LexiconError
from lm.text.vocabulary import Vocabulary

ROOT = 0
IMPOSSIBLE = -1e9  # log-probability of what cannot be


class SearchStopped(Exception):
    """The search was told to stop."""


class _Trace(NamedTuple):
    """Of the hypotheses that a frame left: the row of each one's parent, its symbol, the word that it ended or -1."""

    parent: Tensor
    token: Tensor
    word: Tensor


class _Found(NamedTuple):
    """F final hypotheses of utterances that ended, best first."""

    utterance: Tensor
    row: Tensor
    score: Tensor
    acoustic: Tensor
    language: Tensor


class BatchedSearch:
    """A search ready to run; building it asks the language model for every word's score at the beginning of a sentence."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        lm: AutomatonArrays | LanguageModel[Any] | None,
        weights: DecodingWeights,
        options: BeamOptions,
        device: torch.device | str = "cpu",
        hotwords: Mapping[str, float] | None = None,
    ) -> None:
        """lm: an automaton, any model whose `words` are the lexicon's (or that has <unk> for the rest), or None.

        hotwords: added to the score for each time a word of the lexicon is said.
        Raises LexiconError for a lexicon without words, LanguageModelError for a model that cannot speak of them.
        """
        if not lexicon.spellings:
            raise LexiconError("The lexicon holds no word that the alphabet can spell.")
        self.vocabulary, self.weights, self.options = vocabulary, weights, options
        self.device = torch.device(device)
        self.words = [*(word for word in lexicon.spellings if word != UNK), UNK]
        """What word indices stand for; the last one is for words outside the lexicon."""
        self._lm = _on_device(lm, self.words, self.device)
        self._blank = vocabulary.blank
        boundary = vocabulary.word_boundary
        self._ends_with_blank = boundary is None
        self._silence = self._blank if boundary is None else boundary
        spellings = [
            (s, i) for i, word in enumerate(self.words[:-1]) for s in lexicon.spellings[word]
        ]
        if (
            self._ends_with_blank
        ):  # a second time with a blank after it, so that the last symbol may last
            spellings = [pair for s, i in spellings for pair in ((s, i), ((*s, self._blank), i))]
        scores = self._lm.first_scores().cpu().numpy().astype(np.float32)
        bonuses = np.array([(hotwords or {}).get(word, 0.0) for word in self.words], np.float64)
        self._bonuses = torch.from_numpy(bonuses).to(self.device)
        self._trie = build_trie(spellings, scores, bonuses, self.device)
        self.stopped = threading.Event()
        """Set from another thread, it ends a search with SearchStopped."""

    def __call__(
        self, emissions: np.ndarray, lengths: Sequence[int], weights: DecodingWeights | None = None
    ) -> list[list[Hypothesis]]:
        """`search`, with `weights` from this call on; None leaves them as they are."""
        self.weights = weights or self.weights
        return self.search(emissions, lengths)

    @torch.inference_mode()
    def search(self, emissions: np.ndarray, lengths: Sequence[int]) -> list[list[Hypothesis]]:
        """(B, T, V) float32 log-probabilities, (B,) frames in each -> up to `nbest` hypotheses each, best first.

        Hypotheses of one utterance differ in their words. Raises ValueError for emissions of another vocabulary.
        """
        valid = [
            valid_frames(e, length, self.vocabulary)
            for e, length in zip(emissions, lengths, strict=True)
        ]
        spoken = [i for i, frames in enumerate(valid) if len(frames)]
        spoken.sort(key=lambda i: -len(valid[i]))
        results = [[Hypothesis((), (), (), 0.0, 0.0, 0.0)] for _ in valid]
        if spoken:
            found = self._search([valid[i] for i in spoken])
            for i, hypothesis in zip(spoken, found, strict=True):
                results[i] = hypothesis
        return results

    def _search(self, utterances: list[np.ndarray]) -> list[list[Hypothesis]]:
        """Utterances of falling length, none empty."""
        searched = [
            self._with_blank_after(frames) if self._ends_with_blank else frames
            for frames in utterances
        ]
        lengths = [len(frames) for frames in searched]
        padded = np.zeros((lengths[0], len(searched), len(self.vocabulary.symbols)), np.float32)
        for i, frames in enumerate(searched):
            padded[: len(frames), i] = frames
        emissions = torch.from_numpy(padded).to(self.device)
        allowed = self._allowed(emissions)
        self._lm.begin()
        beam, traces, found = self._start(len(searched)), [], []
        for t in range(lengths[0]):
            if self.stopped.is_set():
                raise SearchStopped
            beam, trace = self._step(beam, emissions[t], None if allowed is None else allowed[t])
            traces.append(trace)
            if lengths[-1] <= t + 1:  # the shortest ends here
                while lengths and lengths[-1] <= t + 1:
                    lengths.pop()
                found.append(self._finish(beam.take(beam.utterance >= len(lengths))))
                beam = beam.take(beam.utterance < len(lengths))
        return self._read(utterances, traces, _Found(*map(torch.cat, zip(*found, strict=True))))

    def _start(self, count: int) -> Beam:
        utterance = torch.arange(count, device=self.device)
        zeros = torch.zeros(count, dtype=torch.float64, device=self.device)
        root = torch.full_like(utterance, ROOT)
        silence = torch.full_like(utterance, self._silence)
        state = self._lm.start(count)
        return Beam(
            utterance, utterance, zeros, zeros, zeros, mixed(root), state, root, silence, root > 0
        )

    def _step(self, beam: Beam, frame: Tensor, allowed: Tensor | None) -> tuple[Beam, _Trace]:
        """(B, V) log-probabilities of a frame, and which of the symbols may be tried."""
        count, threshold = len(frame), self.options.threshold
        candidates, ends = self._grown(beam, frame, allowed)
        best = best_of(candidates.score, beam.utterance[candidates.parent], count)
        # Nothing has a probability above 1: what falls short before the language model is asked falls short after it.
        ends = ends.take(
            (ends.score >= (best - threshold)[beam.utterance[ends.parent]]).nonzero().squeeze(1)
        )
        if len(ends.parent):
            candidates = Candidates(
                *map(torch.cat, zip(candidates, self._scored(beam, ends), strict=True))
            )
        utterance = beam.utterance[candidates.parent]
        best = best_of(candidates.score, utterance, count)
        candidates = candidates.take(
            (candidates.score >= (best - threshold)[utterance]).nonzero().squeeze(1)
        )
        parent, word = candidates.parent, candidates.word
        utterance, history = beam.utterance[parent], beam.history[parent]
        history = torch.where(word >= 0, extended(history, word), history)
        keys = merge_keys(
            utterance, history, candidates.node, candidates.token, candidates.blank, count
        )
        rows, scores = merge(keys, candidates.score)
        kept = top(scores, utterance[rows], count, self.options.width)
        rows, scores = rows[kept], scores[kept]
        some = candidates.take(rows)
        grown = Beam(
            utterance[rows],
            torch.arange(len(rows), device=self.device),
            scores,
            beam.acoustic[some.parent] + some.emitted,
            beam.language[some.parent] + some.language,
            history[rows],
            some.state,
            some.node,
            some.token,
            some.blank,
        )
        return grown, _Trace(beam.row[some.parent].int(), some.token.short(), some.word.int())

    def _grown(
        self, beam: Beam, frame: Tensor, allowed: Tensor | None
    ) -> tuple[Candidates, Candidates]:
        """The candidates that end no word, and those that do, whose scores lack what the language model says."""
        trie, weight = self._trie, self.weights.lm_weight
        parent, arc = spread(trie.arc_first[beam.node], trie.arc_count[beam.node])
        token, node = trie.arc_token[arc], trie.arc_node[arc]
        if allowed is not None:
            tried = allowed[beam.utterance[parent], token].nonzero().squeeze(1)
            parent, token, node = parent[tried], token[tried], node[tried]
        emitted = frame[beam.utterance[parent], token].double()
        promised = trie.promise[beam.node[parent]]
        score = beam.score[parent] + emitted + self._sil_score * (token == self._silence)
        again = token == beam.token[parent]
        inside = ((trie.arc_count[node] > 0) & (beam.blank[parent] | ~again)).nonzero().squeeze(1)
        promise = trie.promise[node[inside]] - promised[inside]
        nowhere = torch.full_like(parent, -1)
        hoped = trie.bonus[beam.node[parent]]
        deeper_score = score[inside] + weight * promise + (trie.bonus[node[inside]] - hoped[inside])
        deeper = Candidates(
            parent[inside], deeper_score, emitted[inside], promise, token[inside], nowhere[inside],
            node[inside], torch.zeros_like(inside, dtype=torch.bool), beam.state[parent[inside]],
        )  # fmt: skip
        fresh = ~(
            again & (beam.node[parent] == ROOT)
        )  # a word of one symbol is not said anew on each frame
        arcs, place = spread(trie.word_first[node], trie.word_count[node] * fresh)
        word, bonus = trie.word[place], torch.full_like(score[arcs], self.weights.word_score)
        if self.weights.unk_score > -math.inf:
            unknown = (trie.word_count[node] == 0).nonzero().squeeze(1)
            arcs = torch.cat([arcs, unknown])
            word = torch.cat([word, torch.full_like(unknown, len(self.words) - 1)])
            bonus = torch.cat([bonus, torch.full_like(score[unknown], self.weights.unk_score)])
        bonus = bonus + self._bonuses[word] - hoped[arcs]
        ends = Candidates(
            parent[arcs], score[arcs] + bonus - weight * promised[arcs], emitted[arcs], -promised[arcs], token[arcs],
            word, torch.full_like(arcs, ROOT), torch.zeros_like(arcs, dtype=torch.bool), beam.state[parent[arcs]],
        )  # fmt: skip
        stays = self._staying(beam, frame)
        return Candidates(*map(torch.cat, zip(deeper, *stays, strict=True))), ends

    def _staying(self, beam: Beam, frame: Tensor) -> tuple[Candidates, Candidates]:
        """Those that say their symbol, or between words silence, for another frame; those that say a blank."""
        rows = (~beam.blank | (beam.node == ROOT)).nonzero().squeeze(1)
        token = torch.where(beam.node[rows] == ROOT, self._silence, beam.token[rows])
        same = self._stays(
            beam, frame, rows, token, False, self._sil_score * (token == self._silence)
        )
        rows = torch.arange(len(beam.node), device=self.device)
        return same, self._stays(
            beam,
            frame,
            rows,
            torch.full_like(rows, self._blank),
            True,
            torch.zeros_like(beam.score),
        )

    def _stays(
        self, beam: Beam, frame: Tensor, rows: Tensor, token: Tensor, blank: bool, bonus: Tensor
    ) -> Candidates:
        emitted = frame[beam.utterance[rows], token].double()
        score = beam.score[rows] + emitted + bonus
        nowhere, flag = torch.full_like(rows, -1), torch.full_like(rows, blank, dtype=torch.bool)
        none = torch.zeros_like(emitted)
        return Candidates(
            rows, score, emitted, none, token, nowhere, beam.node[rows], flag, beam.state[rows]
        )

    def _scored(self, beam: Beam, ends: Candidates) -> Candidates:
        """Ends of words with what the language model says of them."""
        self._lm.expect(beam.state)
        scores, states = self._lm.score(ends.state, ends.word)
        score = ends.score + self.weights.lm_weight * scores
        return ends._replace(score=score, language=ends.language + scores, state=states)

    def _finish(self, beam: Beam) -> _Found:
        """Of utterances that have ended: those between words, or all where there is none; merged, the best of each."""
        count = int(beam.utterance[-1]) + 1 if len(beam.utterance) else 1
        between = best_of((beam.node == ROOT).double(), beam.utterance, count) > 0
        beam = beam.take((beam.node == ROOT) | ~between[beam.utterance])
        ends = self._lm.finish(beam.state)
        score = beam.score + self.weights.lm_weight * ends
        kept = (
            score
            >= (best_of(score, beam.utterance, count) - self.options.threshold)[beam.utterance]
        )
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
        lengths = torch.tensor(
            [len(frames) + self._ends_with_blank for frames in utterances], device=self.device
        )
        ends = lengths[found.utterance]
        tokens = torch.full(
            (len(traces), len(ends)), self._blank, dtype=torch.int16, device=self.device
        )
        words = torch.full((len(traces), len(ends)), -1, dtype=torch.int32, device=self.device)
        row = found.row
        for t in range(len(traces) - 1, -1, -1):
            trace, inside = traces[t], ends > t
            place = torch.where(inside, row, 0)
            tokens[t] = torch.where(inside, trace.token[place], tokens[t])
            words[t] = torch.where(inside, trace.word[place], words[t])
            row = torch.where(inside, trace.parent[place].long(), row)
        columns = (found.utterance, found.score, found.acoustic, found.language)
        read = zip(*(column.cpu().tolist() for column in columns), strict=True)
        every_token, every_word = tokens.T.cpu().numpy(), words.T.cpu().numpy()
        paths: list[list[Path]] = [[] for _ in utterances]
        for i, (utterance, score, acoustic, language) in enumerate(read):
            frames = len(utterances[utterance])
            path = Path(
                every_token[i, :frames],
                every_word[i, : frames + self._ends_with_blank],
                score,
                acoustic,
                language,
            )
            paths[utterance].append(path)
        return [
            hypotheses(frames, some, self.words, self.vocabulary, self.options.nbest)
            for frames, some in zip(utterances, paths, strict=True)
        ]

    @property
    def _sil_score(self) -> float:
        return 0.0 if self._ends_with_blank else self.weights.sil_score

    def _allowed(self, emissions: Tensor) -> Tensor | None:
        """(T, B, V) which symbols of each frame lead deeper into the lexicon; None for all."""
        tokens = self.options.tokens
        if tokens is None or tokens >= emissions.shape[2]:
            return None
        return torch.zeros_like(emissions, dtype=torch.bool).scatter_(
            2, emissions.topk(tokens, 2).indices, True
        )

    def _with_blank_after(self, frames: np.ndarray) -> np.ndarray:
        """(T, V) -> (T + 1, V): a blank for certain after the utterance, for a last symbol that lasts to its end."""
        after = np.full((1, frames.shape[1]), IMPOSSIBLE, np.float32)
        after[0, self._blank] = 0.0
        return np.concatenate([frames, after])


def _on_device(
    lm: AutomatonArrays | LanguageModel[Any] | None, words: Sequence[str], device: torch.device
) -> WordTensors:
    if lm is None or isinstance(lm, ZeroLM):
        return NoTensors(len(words), device)
    if isinstance(lm, AutomatonArrays):
        return NgramTensors(lm, words, device)
    return AskedTensors(lm, words, device)
